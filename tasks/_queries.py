"""Query groups made ready to score with, in as much memory as there is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from infra_core.corpus import TokenizedExample
from infra_core.influence import (
    Compressed,
    KeptPasses,
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
from infra_core.recipe.params import ModuleChoice
from infra_core.store.artifact import Artifact
from tasks._aside import Aside, aside
from tasks._factors import fitted_as, read_layers
from tasks._stage import RunContext

Directions = TypeVar("Directions", Preconditioned, Compressed)
Groups = Mapping[str, Sequence[TokenizedExample]]


@contextmanager
def ready_queries(
    ctx: RunContext, model: PreTrainedModel, factors: Artifact, groups: Groups, params: ScoreParams
) -> Iterator[Preconditioned | Compressed]:
    """Give the directions of query groups, with which examples are scored inside.

    Factors that do not fit together are read some layers at a time, for which the queries go through the
    model twice, as the rows do that factors are fitted on. Exact directions then wait on the local disk, and
    those of a block come back when a batch gets to it.
    """
    fitted = fitted_as(ctx, factors)
    choices = [part.modules for part in in_partitions(model, fitted, "score", ctx.factor_bytes, len(groups))]

    def ready(run: Callable[..., Directions], choice: str) -> Directions:
        curvature = read_layers(ctx, factors, factors_from_tensors, choose_blocks(model, choice))
        return run(model, curvature, groups, params, batch_tokens=ctx.micro_batch_tokens)

    with ExitStack() as stack:
        if len(choices) > 1:
            shelf, room = stack.enter_context(aside())
            groups = _passed_once(groups, choices, shelf.folder, room)
        if params.energy is not None:
            yield joined([ready(compress_queries, choice) for choice in reversed(choices)])
        elif len(choices) == 1:
            yield ready(precondition_queries, choices[0])
        else:
            waiting, _room = stack.enter_context(aside())
            for choice in reversed(choices):  # in the model's order
                waiting.update(ready(precondition_queries, choice).directions)
            yield Preconditioned(tuple(groups), waiting, params.products)


def _passed_once(groups: Groups, choices: Sequence[ModuleChoice], folder: Path, room: int) -> Groups:
    """Return queries whose passes are kept on the disk, so that each turn runs its own layers alone."""
    found = {}
    for number, (group, queries) in enumerate(groups.items()):
        shelf = Aside(folder / str(number))
        shelf.folder.mkdir()
        found[group] = KeptPasses(queries, budget=room // len(groups), ranges=choices, shelf=shelf)
    return found
