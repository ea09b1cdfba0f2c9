"""An index of the corpus's gradients: what later questions need, so that no row is passed for them again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from safetensors.torch import load as read_safetensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from infra_core.corpus.schema import CORPUS, distinct
from infra_core.corpus.segment import Rule
from infra_core.influence import (
    FactorParams,
    Factors,
    IndexParams,
    block_from_tensors,
    block_to_tensors,
    factors_from_tensors,
    in_partitions,
    index_examples,
    index_layout,
)
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.index import IndexLayout
from infra_core.lm.classes import PreTrainedModel
from infra_core.recipe import Params, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table
from tasks._factors import SUFFIX, fitted_as, load_fitted, read_layers
from tasks._in_context import in_context, pending_texts, write_unscored
from tasks._progress import progress
from tasks._row_local import of_texts
from tasks._shares import share_out
from tasks._stage import RunContext, stage

Turns = Callable[[], Iterator[tuple[Mapping[str, Factors], IndexLayout]]]
"""Factors of some layers at a time, and how gradients are folded along them."""


class IndexRun(Params):
    """What is kept of each row, and how it is divided where spans have rows of their own."""

    keep: IndexParams
    spans: Rule | None

    @classmethod
    def of(cls, given: Recipe) -> "IndexRun":
        """Take from a recipe what its index depends on."""
        keep = given.require_index()
        return cls(keep=keep, spans=given.scores.spans if keep.level == "span" else None)


@stage(version=2)
def index(
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    corpus: Artifact,
    factors: Artifact,
    params: IndexRun,
) -> None:
    """Index part by part; a block whose text, model and factors are known is adopted and never changes."""
    texts = of_texts(ctx, corpus, checkpoint=checkpoint.key, factors=factors.key, params=params)
    wanted = pending_texts(out, texts, block_part)
    share_out(ctx, out, index_parts, wanted, Indexing(checkpoint, corpus, factors, params))
    for name in list(texts)[:1]:  # all blocks have rows of one size
        block = block_from_tensors(read_safetensors(out.read(block_part(name))))
        out.notes["row_bytes"] = str(block.row_bytes)


@dataclass(frozen=True)
class Indexing:
    """What indexing needs."""

    checkpoint: Artifact
    corpus: Artifact
    factors: Artifact
    params: IndexRun


def index_parts(ctx: RunContext, out: WorkDir, names: Sequence[str], given: Indexing) -> None:
    """Index some parts of a corpus."""
    params = given.params
    fitted = fitted_as(ctx, given.factors)
    model, tokenizer = load_fitted(ctx, given.checkpoint, fitted)
    turns = layers_in_turn(ctx, model, given.factors, fitted, params.keep)
    for name in names:
        rows = distinct(read_table(ctx.store, given.corpus, name, CORPUS))
        examples, unscored = in_context(rows, tokenizer, params.spans, model)
        tensors: dict[str, Tensor] = {}
        with progress(f"index {name}, tokens", sum(map(len, examples))) as update:
            for curvature, layout in turns():
                block = index_examples(
                    model, curvature, examples, params.keep,
                    layout=layout, batch_tokens=ctx.micro_batch_tokens, progress=update,
                )  # fmt: skip
                tensors |= block_to_tensors(block, layout.columns)
        with out.open(block_part(name)) as file:
            file.write(safetensors_bytes(tensors))
        write_unscored(out, name, unscored)


def layers_in_turn(
    ctx: RunContext, model: PreTrainedModel, factors: Artifact, fitted: FactorParams, keep: IndexParams
) -> Turns:
    """Return what yields the factors of all layers, some at a time where they do not fit together.

    Where they do they are read once; else anew each time that they are asked for.
    """
    choices = [part.modules for part in in_partitions(model, fitted, "index", ctx.factor_bytes)]

    def read(choice: str) -> tuple[Mapping[str, Factors], IndexLayout]:
        curvature = read_layers(ctx, factors, factors_from_tensors, choose_blocks(model, choice))
        return curvature, index_layout(curvature, keep)

    if len(choices) == 1:
        whole = read(choices[0])
        return lambda: iter([whole])
    return lambda: map(read, choices)


def block_part(name: str) -> str:
    """Return where the gradients of a corpus part's rows are."""
    return name.replace(".parquet", SUFFIX)
