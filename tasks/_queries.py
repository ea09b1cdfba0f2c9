"""Query groups made ready to score with, in as much memory as there is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from infra_core.corpus import TokenizedExample
from infra_core.influence import (
    Compressed,
    Preconditioned,
    ScoreParams,
    compress_queries,
    factors_from_tensors,
    in_partitions,
    precondition_queries,
)
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.compress import joined
from infra_core.lm.classes import PreTrainedModel
from infra_core.store.artifact import Artifact
from tasks._aside import aside
from tasks._factors import fitted_as, read_layers
from tasks._stage import RunContext

Directions = TypeVar("Directions", Preconditioned, Compressed)
Groups = Mapping[str, Sequence[TokenizedExample]]


@contextmanager
def ready_queries(
    ctx: RunContext, model: PreTrainedModel, factors: Artifact, groups: Groups, params: ScoreParams
) -> Iterator[Preconditioned | Compressed]:
    """Give the directions of query groups, with which examples are scored inside.

    Factors that do not fit together are read some layers at a time. Exact directions then wait on the local
    disk, and a block's come back when a batch gets to it.
    """
    fitted = fitted_as(ctx, factors)
    choices = [part.modules for part in in_partitions(model, fitted, "score", ctx.factor_bytes, len(groups))]

    def ready(run: Callable[..., Directions], choice: str) -> Directions:
        curvature = read_layers(ctx, factors, factors_from_tensors, choose_blocks(model, choice))
        return run(model, curvature, groups, params, batch_tokens=ctx.micro_batch_tokens)

    if params.energy is not None:
        yield joined([ready(compress_queries, choice) for choice in reversed(choices)])
    elif len(choices) == 1:
        yield ready(precondition_queries, choices[0])
    else:
        with aside() as (shelf, _room):
            for choice in reversed(choices):  # in the model's order
                shelf.update(ready(precondition_queries, choice).directions)
            yield Preconditioned(tuple(groups), shelf, params.products)
