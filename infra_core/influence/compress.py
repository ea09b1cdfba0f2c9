"""Many query groups at little cost: one two-sided basis a block that all their directions nearly lie in.

Exact directions cost P multiply-adds a token, group and block of P weights, and as many bytes as weights. In
bases U (d_out × k) and V (d_in × k') that the groups share, a direction is a small core, and a token costs
k · d_out + k' · d_in once for all groups, then k · k' for each: a higher-order singular value decomposition
over groups (De Lathauwer et al. 2000, doi:10.1137/S0895479896305696), taken of the directions themselves, so
that what is kept is what scores are made of.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import RequestError
from infra_core.influence.factors import Factors
from infra_core.influence.passes import BATCH_TOKENS, Progress
from infra_core.influence.precision import Products, operand, product
from infra_core.influence.query import (
    Preconditioned,
    Vector,
    precondition_blocks,
    query_gradients,
    rounded,
    stack_directions,
)
from infra_core.recipe import ScoreParams

SAMPLE = 4
"""Groups whose exact directions are kept beside the compressed ones, to compare scores with."""


@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """Directions of query groups as U C Vᵀ, with U and V shared by all groups of a block.

    Attributes
    ----------
    groups
        Names, in the order given.
    left, right
        By block name, U and V: orthonormal columns.
    cores
        By block name, C of each group.
    energy
        By block name, the share of Σ‖P‖² over groups that is kept; 1 where there is nothing to keep.
    exact
        Directions of a few groups before compression, evenly spread over the groups.
    products
        In which precision U and V are multiplied with; they are kept rounded to it.
    """

    groups: tuple[str, ...]
    left: dict[str, Float[Tensor, "d_out k"]]
    right: dict[str, Float[Tensor, "d_in r"]]
    cores: dict[str, Float[Tensor, "Q k r"]]
    energy: dict[str, float]
    exact: Preconditioned
    products: Products | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(d_out, d_in) by block name."""
        return {name: (len(self.left[name]), len(self.right[name])) for name in self.left}

    def direction(self, name: str, query: int) -> Float[Tensor, "d_out d_in"]:
        """Return one group's direction in one block, as it is after compression."""
        core = self.cores[name][query]
        return self.left[name].to(core.dtype) @ core @ self.right[name].to(core.dtype).mT

    def slopes(
        self, name: str, a: Float[Tensor, "N d_in"], g: Float[Tensor, "N d_out"]
    ) -> Iterator[tuple[int, Float[Tensor, " N"]]]:
        """Yield δₜᵀ P aₜ of each position for one group after the other."""
        a = product(operand(a, self.products), self.right[name])
        g = product(operand(g, self.products), self.left[name])
        for query, core in enumerate(self.cores[name]):
            yield query, torch.linalg.vecdot(g @ core, a)


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """Along which directions the groups of one block lie: Σ P Pᵀ and Σ Pᵀ P."""

    rows: Tensor
    columns: Tensor

    @property
    def norm(self) -> float:
        """Σ‖P‖²."""
        return float(self.rows.trace())


def compress_queries(
    model: nn.Module,
    factors: Mapping[str, Factors],
    groups: Mapping[str, Sequence[TokenizedExample]],
    params: ScoreParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> Compressed:
    """Do the query side for many groups; what `precondition_queries` does, within `params.energy`.

    Two passes over the queries: one finds the bases, the other the cores. Directions of one group exist at a
    time, and those of `SAMPLE` groups are kept for `agreement`.

    Parameters
    ----------
    model
        The model that the factors were fitted on.
    factors
        From `fit_factors`.
    groups
        Queries by group name.
    params
        Damping, and the share of energy that each block must keep.
    batch_tokens
        Padded positions a batch.
    progress
        Called with (tokens done, tokens in all) after each batch; starts over for each group and pass.

    Raises
    ------
    RequestError
        If `params.energy` is not given.
    """
    if params.energy is None:
        raise RequestError("compressing queries loses something: say in energy= how much to keep, say 0.99")
    chosen = {group for number, group in enumerate(groups) if number % -(-len(groups) // SAMPLE) == 0}
    spreads: dict[str, _Spread] = {}
    sample: dict[str, Vector] = {}
    for group, gradients in query_gradients(model, factors, groups, (batch_tokens, progress)):
        directions = precondition_blocks(gradients, factors, params)
        for name, direction in directions.items():
            d_out, d_in = direction.shape
            spread = spreads.setdefault(
                name, _Spread(direction.new_zeros(d_out, d_out), direction.new_zeros(d_in, d_in))
            )
            spread.rows.addmm_(direction, direction.mT)
            spread.columns.addmm_(direction.mT, direction)
        if group in chosen:
            sample[group] = rounded(directions, params.products)
    lost = (1 - params.energy) / 2  # each side may lose half
    left = {name: _leading(spread.rows, lost) for name, spread in spreads.items()}
    right = {name: _leading(spread.columns, lost) for name, spread in spreads.items()}
    cores: dict[str, list[Tensor]] = {name: [] for name in factors}
    for _, gradients in query_gradients(model, factors, groups, (batch_tokens, progress)):
        for name, direction in precondition_blocks(gradients, factors, params).items():
            cores[name].append(left[name].mT @ direction @ right[name])
    stacked = {name: torch.stack(each) for name, each in cores.items()}
    energy = {
        name: float(each.square().sum()) / spreads[name].norm if spreads[name].norm else 1.0
        for name, each in stacked.items()
    }
    return Compressed(
        tuple(groups),
        rounded(left, params.products),
        rounded(right, params.products),
        stacked,
        energy,
        stack_directions(sample, params.products),
        params.products,
    )


def joined(turns: Sequence[Compressed]) -> Compressed:
    """Put together what was compressed some blocks at a time, for the same groups."""
    first = turns[0]
    exact = {name: each for turn in turns for name, each in turn.exact.directions.items()}
    return Compressed(
        first.groups,
        {name: each for turn in turns for name, each in turn.left.items()},
        {name: each for turn in turns for name, each in turn.right.items()},
        {name: each for turn in turns for name, each in turn.cores.items()},
        {name: each for turn in turns for name, each in turn.energy.items()},
        Preconditioned(first.exact.groups, exact, first.products),
        first.products,
    )


def _leading(gram: Float[Tensor, "d d"], lost: float) -> Float[Tensor, "d k"]:
    """Return the fewest leading eigenvectors that leave at most a share `lost` of the trace; at least one."""
    values, vectors = torch.linalg.eigh(gram.double())
    values = values.clamp(min=0)
    # Of ascending eigenvalues, those whose running sum stays within what may be lost.
    dropped = int((values.cumsum(0) <= lost * values.sum()).sum())
    return vectors[:, min(dropped, len(values) - 1) :].to(gram.dtype).contiguous()
