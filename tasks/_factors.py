"""Bases and factors between store and memory: one safetensors file a layer."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from infra_core.corpus import TokenizedExample
from infra_core.corpus.render import render
from infra_core.errors import DataError
from infra_core.influence import FactorParams, by_layer, to_tensors
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.probe import probe_batches
from infra_core.influence.tracking import layer_of
from infra_core.lm.classes import PreTrainedModel
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._checkpoint import load_to_pass
from tasks._pools import pool_rows
from tasks._stage import RunContext

logger = logging.getLogger(__name__)

BATCH_DEPENDENT = "batch_dependent"  # among notes, where gradients feel how rows are batched
SUFFIX = ".safetensors"
T = TypeVar("T")


def context_length(model: PreTrainedModel) -> int:
    """Return how many positions the model can see."""
    return int(model.config.max_position_embeddings)


def fitted_as(ctx: RunContext, factors: Artifact) -> FactorParams:
    """Return what a curvature was fitted with."""
    return FactorParams.model_validate(ctx.store.manifest(factors).params)


def load_fitted(
    ctx: RunContext, checkpoint: Artifact, fitted: FactorParams
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model that a curvature is of, as it was then."""
    return load_to_pass(ctx, checkpoint, fitted.modules, fitted.after or 1.0)


def fit_rows(
    ctx: RunContext, corpus: Artifact, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> list[TokenizedExample]:
    """Return the rows that fit the model; the engine draws its sample among them, by example_id."""
    limit, examples = context_length(model), list(render(pool_rows(ctx, corpus), tokenizer, spans=None))
    fitting = [example for example in examples if len(example) <= limit]
    if len(fitting) < len(examples):
        logger.warning("%d rows are longer than the context of %d", len(examples) - len(fitting), limit)
    return fitting


def note_probe(
    out: WorkDir,
    model: PreTrainedModel,
    examples: Sequence[TokenizedExample],
    modules: str,
    batch_tokens: int,
) -> None:
    """Measure whether gradients depend on how rows are batched; put it in the manifest, warn if they do."""
    probe = probe_batches(model, examples, modules, batch_tokens)
    out.notes["batch_dependence"] = str(probe)
    if probe.notable:
        out.notes[BATCH_DEPENDENT] = str(probe)
        logger.warning(
            "%s: influence will depend on batching; load the model in fp32, or without fused attention", probe
        )


def pending_modules(out: WorkDir, model: PreTrainedModel, params: FactorParams) -> dict[str, object]:
    """Return the tracked modules whose layer's file is still to be written, by name."""
    layers = by_layer(choose_blocks(model, params.modules))
    pending = {name.removesuffix(SUFFIX) for name in out.pending([layer + SUFFIX for layer in layers])}
    return {name: module for layer in pending for name, module in layers[layer].items()}


def write_layers(out: WorkDir, values: Mapping[str, Any]) -> None:
    """Write one file a layer; a layer's tensors that are shared between modules are written once."""
    for layer, members in by_layer(values).items():
        tensors = {name: tensor.contiguous().cpu() for name, tensor in to_tensors(members).items()}
        with out.open(layer + SUFFIX) as file:
            file.write(safetensors_bytes(tensors))


def read_layers(
    ctx: RunContext,
    artifact: Artifact,
    parse: Callable[[Mapping[str, Tensor]], dict[str, T]],
    blocks: Iterable[str],
) -> dict[str, T]:
    """Map the files of these blocks' layers into memory, or read them onto the context's device.

    On a processor, pages are read when they are used. None where there are no files.

    Raises
    ------
    DataError
        Naming the file that holds something else.
    """
    values: dict[str, T] = {}
    wanted = {layer_of(block) + SUFFIX for block in blocks}
    names = [name for name in ctx.store.parts(artifact, f"*{SUFFIX}") if name in wanted]
    for name, path in zip(names, ctx.store.local(artifact, names), strict=True):
        try:
            values |= parse(load_file(path, device=ctx.device))
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            told = " ".join(str(error).split())[:300]
            raise DataError(
                f"{artifact.uri}/{name} does not hold the tensors of a layer ({told}); is it a part of "
                "another kind?"
            ) from error
    return values
