"""Questions to an index of gradients: queries, damping and differences are chosen now; no row is passed.

With k coordinates x̂ and ŷ of x and y in a block, x̂ᵀŷ is on average xᵀy, and its variance is about
(‖x‖² ‖y‖² + (xᵀy)²) / k. Its root, over all blocks, is told with each score.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.factors import Factors, IdentityFactors, in_basis
from infra_core.influence.index import IndexBlock, IndexLayout, index_layout, side_by_side
from infra_core.influence.passes import BATCH_TOKENS
from infra_core.influence.query import query_gradients
from infra_core.influence.scores import influence, ranked
from infra_core.recipe import IndexParams

ROWS = 4096
"""Rows of an index that are multiplied at a time."""

FOUND = pl.Schema({
    "example_id": pl.String,
    "span": pl.Int32,  # null where the index is of whole examples
    "group": pl.String,
    "influence": pl.Float32,
    "error": pl.Float32,  # standard error of what chance has put together, and of rounding to a byte
})

OVERLAP = pl.Schema({
    "group": pl.String,
    "side": pl.String,  # helpful | harmful
    "overlap": pl.Float64,  # of the exact m, the share that the index has among its own m
    "m": pl.UInt32,
})


@dataclass(frozen=True, slots=True, eq=False)
class IndexedQueries:
    """Preconditioned gradients of query groups in an index's coordinates.

    Attributes
    ----------
    columns
        Where each block's coordinates stand.
    whole
        Blocks whose coordinates are all kept, each by itself.
    groups
        Names.
    coordinates
        What is multiplied with those of rows.
    """

    columns: dict[str, slice]
    whole: frozenset[str]
    groups: tuple[str, ...]
    coordinates: Float[Tensor, "Q k"]

    def contrast(self, plus: str, minus: str) -> "IndexedQueries":
        """Add the group ``plus - minus``."""
        first, second = self.groups.index(plus), self.groups.index(minus)
        coordinates = self.coordinates[first] - self.coordinates[second]
        return replace(
            self,
            groups=(*self.groups, f"{plus} - {minus}"),
            coordinates=torch.cat([self.coordinates, coordinates[None]]),
        )


def beside(several: Sequence[IndexedQueries]) -> IndexedQueries:
    """Put together what the same groups come to along some blocks of the model each."""
    widths = {name: each.stop - each.start for one in several for name, each in one.columns.items()}
    return IndexedQueries(
        side_by_side(widths),
        frozenset().union(*(each.whole for each in several)),
        several[0].groups,
        torch.cat([each.coordinates for each in several], dim=1),
    )


def index_queries(
    model: nn.Module,
    factors: Mapping[str, Factors],
    groups: Mapping[str, Sequence[TokenizedExample]],
    params: IndexParams,
    *,
    damping: float,
    layout: IndexLayout | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> IndexedQueries:
    """Put the preconditioned gradients of query groups into the coordinates of an index.

    Parameters
    ----------
    model, factors, params, layout
        Those of `index_examples`.
    groups
        Queries by group name, as for `precondition_queries`.
    damping
        As in `ScoreParams`; the index knows of none.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.

    Raises
    ------
    ValueError
        If `damping` is not positive.
    """
    if damping <= 0:
        raise ValueError(f"damping must be positive, got {damping}; 0.1 is the usual choice")
    layout = layout or index_layout(factors, params)
    coordinates = []
    for _, gradients in query_gradients(model, factors, groups, (batch_tokens, None)):
        folded = []
        for name, folding in layout.foldings.items():
            one = factors[name]
            assert not isinstance(one, IdentityFactors)  # noqa: S101 - `index_layout` has refused them
            folded.append(folding.fold(in_basis(gradients[name], one), damping))
        coordinates.append(torch.cat(folded).float().cpu())
    whole = frozenset(name for name, each in layout.foldings.items() if each.whole)
    return IndexedQueries(layout.columns, whole, tuple(groups), torch.stack(coordinates))


def search(queries: IndexedQueries, blocks: Iterable[IndexBlock]) -> pl.DataFrame:
    """Return the influence of indexed rows on query groups, and the standard error of it.

    Parameters
    ----------
    queries
        From `index_queries`.
    blocks
        Of the index.

    Returns
    -------
    DataFrame
        Of the schema `FOUND`: a row a pair of indexed row and group, in their order.
    """
    frames = [pl.DataFrame(schema=FOUND)]
    for block in blocks:
        pairs = zip(block.codes.split(ROWS), block.scales.split(ROWS), strict=True)
        found = [_products(queries, codes, scales) for codes, scales in pairs]
        scores, errors = (torch.cat(each) for each in zip(*found, strict=True))
        frames.append(_frame(block, queries.groups, influence(scores), errors))
    return pl.concat(frames)


def _products(
    queries: IndexedQueries, codes: Int8[Tensor, "n k"], scales: Float[Tensor, "n m"]
) -> tuple[Float[Tensor, "n Q"], Float[Tensor, "n Q"]]:
    """Return the products of some rows with every group, and their standard errors."""
    total = torch.zeros(len(codes), len(queries.groups))
    variance = torch.zeros_like(total)
    for number, (name, inside) in enumerate(queries.columns.items()):
        asked, step = queries.coordinates[:, inside], scales[:, number, None]
        steps = codes[:, inside].float()
        product = (steps @ asked.mT) * step
        total += product
        squares = asked.square().sum(1)
        variance += step.square() * squares / 12  # of rounding: evenly within a step
        if name not in queries.whole:
            both = (steps.square().sum(1, keepdim=True) * step.square()) * squares
            variance += (both + product.square()) / steps.shape[1]
    return total, variance.sqrt()


def _frame(
    block: IndexBlock, groups: Sequence[str], scores: Float[Tensor, "n Q"], errors: Float[Tensor, "n Q"]
) -> pl.DataFrame:
    count = len(groups)
    names = {"example_id": block.example_ids, "span": block.spans}
    rows = pl.DataFrame(names, schema={"example_id": pl.String, "span": pl.Int32})
    each = torch.arange(len(block)).repeat_interleave(count).numpy()
    columns = {
        "group": list(groups) * len(block),
        "influence": scores.flatten().numpy(),
        "error": errors.flatten().numpy(),
    }
    return pl.concat([rows[each], pl.DataFrame(columns)], how="horizontal").cast(FOUND)


def by_example(found: pl.DataFrame) -> pl.DataFrame:
    """Sum what `search` finds of spans to whole examples; errors of one example's spans add."""
    sums = pl.col("influence", "error").sum()
    summed = found.group_by("example_id", "group", maintain_order=True).agg(sums)
    return summed.with_columns(span=pl.lit(None, dtype=pl.Int32)).select(*FOUND).cast(FOUND)


def leading(scores: pl.DataFrame, m: int) -> pl.DataFrame:
    """Return the m most helpful and the m most harmful examples of each group, by `group`, `side` and id."""
    placed = ranked(scores).with_columns(last=pl.col("rank").max().over("group"))
    sides = {"helpful": pl.col("rank"), "harmful": pl.col("last") + 1 - pl.col("rank")}
    return pl.concat([
        placed.filter(place <= m).select("group", "example_id", side=pl.lit(side))
        for side, place in sides.items()
    ])


def overlap(found: pl.DataFrame, exact: pl.DataFrame, m: int) -> pl.DataFrame:
    """Say how many of the m most helpful and most harmful examples an index finds.

    Parameters
    ----------
    found
        From `search`, of whole examples.
    exact
        From `score_examples`, of the examples that `leading` names for a few times m, or of all.
    m
        Examples to either side.

    Returns
    -------
    DataFrame
        Of the schema `OVERLAP`.
    """
    true, claimed = leading(exact, m), leading(found, m)
    return (
        true
        .join(claimed.with_columns(hit=1.0), on=["group", "side", "example_id"], how="left")
        .group_by("group", "side", maintain_order=True)
        .agg(overlap=pl.col("hit").fill_null(0.0).mean(), m=pl.len())
        .cast(OVERLAP)
    )
