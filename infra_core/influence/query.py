"""What scores are about: f, the mean over a group's queries of the log-likelihood of their scored tokens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError, RequestError
from infra_core.influence.factors import Factors, precondition
from infra_core.influence.gradients import summing_hooks
from infra_core.influence.kept import KeptPasses, kept_passes
from infra_core.influence.labels import DATA
from infra_core.influence.passes import (
    BATCH_TOKENS,
    Progress,
    passing,
    quiet,
    require_finite,
    send_gradients,
    track_factors,
)
from infra_core.influence.precision import Products, operand, product
from infra_core.influence.tracking import Tracked
from infra_core.lm.batching import Batch
from infra_core.recipe import ScoreParams

Vector = dict[str, Tensor]
"""A direction in weight space: d_out × d_in by block name."""


@dataclass(frozen=True, slots=True, eq=False)
class Preconditioned:
    """(H + λI)⁻¹ ∇f of every query group, ready to be multiplied with any example's gradient.

    Attributes
    ----------
    groups
        Names, in the order given.
    directions
        By block name: one direction in weight space a group, a bias as its last column. A block's are asked
        for where they are needed, so they may be kept elsewhere until then.
    products
        In which precision they are multiplied with; they are kept rounded to it.
    """

    groups: tuple[str, ...]
    directions: Mapping[str, Float[Tensor, "Q d_out d_in"]]
    products: Products | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(d_out, d_in) by block name."""
        return {name: (each.shape[1], each.shape[2]) for name, each in self.directions.items()}

    def direction(self, name: str, query: int) -> Float[Tensor, "d_out d_in"]:
        """Return one group's direction in one block."""
        return self.directions[name][query]

    def slopes(
        self, name: str, a: Float[Tensor, "N d_in"], g: Float[Tensor, "N d_out"]
    ) -> Iterator[tuple[int, Float[Tensor, " N"]]]:
        """Yield δₜᵀ P aₜ of each position for one group after the other."""
        # Either side may be multiplied first. What comes of it is as wide as the other: take the narrower.
        narrows = g.shape[1] > a.shape[1]
        first, second = (operand(g, self.products), a) if narrows else (operand(a, self.products), g)
        for query, direction in enumerate(self.directions[name].to(a.device)):
            yield query, torch.linalg.vecdot(product(first, direction if narrows else direction.mT), second)

    def contrast(self, plus: str, minus: str) -> "Preconditioned":
        """Add the group ``plus - minus``: what helps the one more than the other. Needs no gradient."""
        first, second = self.groups.index(plus), self.groups.index(minus)
        return Preconditioned(
            (*self.groups, f"{plus} - {minus}"),
            {
                name: torch.cat([each, (each[first] - each[second])[None]])
                for name, each in self.directions.items()
            },
            self.products,
        )


def precondition_queries(
    model: nn.Module,
    factors: Mapping[str, Factors],
    groups: Mapping[str, Sequence[TokenizedExample]],
    params: ScoreParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> Preconditioned:
    """Do the query side of influence once, for any number of parts to score.

    Parameters
    ----------
    model
        The model that the factors were fitted on.
    factors
        From `fit_factors`.
    groups
        Queries by group name; f is the mean over a group's queries of their summed log-likelihood. A group
        may be `KeptPasses`, if some layers are prepared at a time.
    params
        Damping.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all) after each batch; starts over for each group.

    Returns
    -------
    Preconditioned
        Linear in f: the direction of a difference of groups is the difference of their directions.

    Raises
    ------
    RequestError
        If there are no groups.
    """
    found = {
        group: rounded(precondition_blocks(gradients, factors, params), params.products)
        for group, gradients in query_gradients(model, factors, groups, (batch_tokens, progress))
    }
    return stack_directions(found, params.products)


def precondition_blocks(gradients: Vector, factors: Mapping[str, Factors], params: ScoreParams) -> Vector:
    """Multiply a gradient by the damped inverse curvature, block by block."""
    return {
        name: precondition(each, factors[name], damping=params.damping) for name, each in gradients.items()
    }


def rounded(direction: Vector, products: Products | None) -> Vector:
    """Return a direction as it will be multiplied with."""
    return {name: operand(each, products) for name, each in direction.items()}


def stack_directions(found: Mapping[str, Vector], products: Products | None) -> Preconditioned:
    """Put the directions of groups together, by block; they are taken out of `found`."""
    blocks = list(next(iter(found.values())))
    # Taken out of each as they are put together: there is no room for all of them twice.
    directions = {name: torch.stack([each.pop(name) for each in found.values()]) for name in blocks}
    return Preconditioned(tuple(found), directions, products)


def query_gradients(
    model: nn.Module,
    factors: Mapping[str, Factors],
    groups: Mapping[str, Sequence[TokenizedExample]],
    batches_of: tuple[int, Progress | None],
) -> Iterator[tuple[str, Vector]]:
    """Yield each group with ∇f by block; those of one group exist at a time.

    Raises
    ------
    RequestError
        If there are no groups.
    """
    if not groups:
        raise RequestError("there are no query groups to score against; give at least one")
    with quiet(model):
        tracked = track_factors(model, factors)
    for group, queries in groups.items():
        with quiet(model):
            kept = kept_passes(queries, model, tracked)
            gradients = _gradients(model, tracked, group, passing(model, queries, *batches_of), kept)
        yield group, gradients


def _gradients(
    model: nn.Module,
    tracked: Tracked,
    group: str,
    batches: Iterable[tuple[Batch, list[TokenizedExample]]],
    kept: KeptPasses | None,
) -> dict[str, Tensor]:
    """Return ∇f of one group by module.

    Raises
    ------
    DataError
        If f is constant because nothing is scored, or numbers stop being finite.
    """
    totals, hooks = summing_hooks(model, tracked)
    n_queries = n_scored = 0
    for batch, rows in batches:
        send_gradients(model, tracked, batch, rows, [DATA], hooks, kept)
        n_queries += len(rows)
        n_scored += int(batch.scored.sum())
        require_finite({name: total.sum() for name, total in totals.items()}, "query gradients", rows)
    if not n_scored:
        raise DataError(
            f"query group {group!r} has {n_queries} queries with no scored token between "
            "them, so its f is constant; give it answers"
        )
    return {name: total / -n_queries for name, total in totals.items()}
