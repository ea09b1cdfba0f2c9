"""Bases and factors between store and memory: one safetensors file a layer."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from safetensors.torch import load as read_safetensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infra_core.corpus import TokenizedExample
from infra_core.corpus.render import render
from infra_core.influence import FactorParams, by_layer, to_tensors
from infra_core.seeds import generator
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._pools import pool_rows
from tasks._stage import RunContext

T = TypeVar("T")


def context_length(model: PreTrainedModel) -> int:
    """Return how many positions the model can see."""
    return int(model.config.max_position_embeddings)


def fit_rows(
    ctx: RunContext,
    corpus: Artifact,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    params: FactorParams,
) -> list[TokenizedExample]:
    """Return the training rows that curvature is fitted on: a seeded sample of those that fit the model."""
    rows = pool_rows(ctx, corpus)
    if params.sequences is not None and params.sequences < len(rows):
        drawn = generator(params.seed, "fit rows").choice(len(rows), params.sequences, replace=False)
        rows = rows[np.sort(drawn).tolist()]
    limit = context_length(model)
    return [example for example in render(rows, tokenizer, spans=None) if len(example) <= limit]


def write_layers(out: WorkDir, values: Mapping[str, Any]) -> None:
    """Write one file a layer; a layer's tensors that are shared between modules are written once."""
    for layer, members in by_layer(values).items():
        tensors = {name: tensor.contiguous().cpu() for name, tensor in to_tensors(members).items()}
        with out.open(f"{layer}.safetensors") as file:
            file.write(safetensors_bytes(tensors))


def read_layers(
    ctx: RunContext, artifact: Artifact, parse: Callable[[Mapping[str, Tensor]], dict[str, T]]
) -> dict[str, T]:
    """Read every layer's file back, onto the context's device."""
    values: dict[str, T] = {}
    for name in ctx.store.parts(artifact, "*.safetensors"):
        tensors = read_safetensors(ctx.store.read(artifact, name))
        values |= parse({key: tensor.to(ctx.device) for key, tensor in tensors.items()})
    return values
