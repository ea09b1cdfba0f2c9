"""Questions to an index of gradients: queries, damping and differences are chosen now; no row is passed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.factors import Factors, IdentityFactors, in_basis
from infra_core.influence.index import IndexBlock, IndexLayout, index_layout
from infra_core.influence.passes import BATCH_TOKENS, Progress
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
    "bound": pl.Float32,  # how far from exact it may be, but for rounding in fp32
})

OVERLAP = pl.Schema({
    "group": pl.String,
    "side": pl.String,  # helpful | harmful
    "overlap": pl.Float64,  # of the exact m, the share that the index has among its own m
    "m": pl.UInt32,
})


@dataclass(frozen=True, slots=True, eq=False)
class IndexedQueries:
    """Gradients of query groups in an index's coordinates, undamped.

    Attributes
    ----------
    layout
        Of the index.
    groups
        Names.
    coordinates
        ∇f where something is kept.
    tails
        Norm of the rest, by group and block.
    """

    layout: IndexLayout
    groups: tuple[str, ...]
    coordinates: Float[Tensor, "Q k"]
    tails: Float[Tensor, "Q m"]

    def contrast(self, plus: str, minus: str) -> "IndexedQueries":
        """Add the group ``plus - minus``; its rest is no larger than those of both together."""
        first, second = self.groups.index(plus), self.groups.index(minus)
        coordinates = self.coordinates[first] - self.coordinates[second]
        return IndexedQueries(
            self.layout,
            (*self.groups, f"{plus} - {minus}"),
            torch.cat([self.coordinates, coordinates[None]]),
            torch.cat([self.tails, (self.tails[first] + self.tails[second])[None]]),
        )


def beside(several: Sequence[IndexedQueries]) -> IndexedQueries:
    """Put together what the same groups come to along some blocks of the model each."""
    layout: dict[str, dict[str, Any]] = {
        field.name: {name: one for each in several for name, one in getattr(each.layout, field.name).items()}
        for field in fields(IndexLayout)
    }
    return IndexedQueries(
        IndexLayout(**layout),
        several[0].groups,
        torch.cat([each.coordinates for each in several], dim=1),
        torch.cat([each.tails for each in several], dim=1),
    )


def index_queries(
    model: nn.Module,
    factors: Mapping[str, Factors],
    groups: Mapping[str, Sequence[TokenizedExample]],
    params: IndexParams,
    *,
    layout: IndexLayout | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> IndexedQueries:
    """Put the gradients of query groups into the coordinates of an index.

    Parameters
    ----------
    model, factors, params, layout
        Those of `index_examples`.
    groups
        Queries by group name, as for `precondition_queries`.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all) after each batch; starts over for each group.
    """
    layout = layout or index_layout(factors, params)
    coordinates, tails = [], []
    for _, gradients in query_gradients(model, factors, groups, (batch_tokens, progress)):
        heads, rests = [], []
        for name, places in layout.places.items():
            one = factors[name]
            assert not isinstance(one, IdentityFactors)  # noqa: S101 - `index_layout` has refused them
            rotated = in_basis(gradients[name], one).flatten()
            heads.append(rotated[places.to(rotated.device)])
            rests.append(torch.linalg.vector_norm(rotated.index_fill(0, places.to(rotated.device), 0)))
        coordinates.append(torch.cat(heads).float().cpu())
        tails.append(torch.stack(rests).float().cpu())
    return IndexedQueries(layout, tuple(groups), torch.stack(coordinates), torch.stack(tails))


def search(queries: IndexedQueries, blocks: Iterable[IndexBlock], *, damping: float) -> pl.DataFrame:
    """Return the influence of indexed rows on query groups, and how far from exact it may be.

    With w = f̃ / (Λ + λ) the product with a row is Σ w g̃. Left out are the coordinates that are not kept, at
    most ‖f̃‖ ‖g̃‖ / (least Λ + λ) there, and what rounding to steps of size s moves, at most Σ|w| s / 2.

    Parameters
    ----------
    queries
        From `index_queries`.
    blocks
        Of the index.
    damping
        As in `ScoreParams`.

    Returns
    -------
    DataFrame
        Of the schema `FOUND`: a row a pair of indexed row and group, in their order.

    Raises
    ------
    ValueError
        If `damping` is not positive.
    """
    if damping <= 0:
        raise ValueError(f"damping must be positive, got {damping}; 0.1 is the usual choice")
    layout = queries.layout
    weights, outside = {}, []
    for name, inside in layout.columns.items():
        added = damping * layout.mean[name]
        # A block without any curvature, which the loss never reached, has no part in it.
        values = layout.eigenvalues[name]
        weights[name] = queries.coordinates[:, inside] * (1 / (values + added) if added else values)
        outside.append(1 / (layout.least[name] + added) if added else 0.0)
    norms = torch.stack([each.abs().sum(1) for each in weights.values()], dim=1)
    rests = queries.tails * torch.tensor(outside)
    frames = [pl.DataFrame(schema=FOUND)]
    for block in blocks:
        bounds = block.scales @ norms.mT / 2 + block.tails @ rests.mT
        frames.append(_frame(block, queries.groups, influence(_products(block, layout, weights)), bounds))
    return pl.concat(frames)


def _products(
    block: IndexBlock, layout: IndexLayout, weights: Mapping[str, Float[Tensor, "Q k"]]
) -> Float[Tensor, "n Q"]:
    """Return Σ w g̃ of every row and group, some rows at a time."""
    found = []
    for codes, scales in zip(block.codes.split(ROWS), block.scales.split(ROWS), strict=True):
        total = torch.zeros(len(codes), len(next(iter(weights.values()))))
        for number, (name, inside) in enumerate(layout.columns.items()):
            total += (codes[:, inside].float() @ weights[name].mT) * scales[:, number, None]
        found.append(total)
    return torch.cat(found)


def _frame(
    block: IndexBlock, groups: Sequence[str], scores: Float[Tensor, "n Q"], bounds: Float[Tensor, "n Q"]
) -> pl.DataFrame:
    count = len(groups)
    names = {"example_id": block.example_ids, "span": block.spans}
    rows = pl.DataFrame(names, schema={"example_id": pl.String, "span": pl.Int32})
    each = torch.arange(len(block)).repeat_interleave(count).numpy()
    columns = {
        "group": list(groups) * len(block),
        "influence": scores.flatten().numpy(),
        "bound": bounds.flatten().numpy(),
    }
    return pl.concat([rows[each], pl.DataFrame(columns)], how="horizontal").cast(FOUND)


def by_example(found: pl.DataFrame) -> pl.DataFrame:
    """Sum what `search` finds of spans, and how far it may be off, to whole examples."""
    sums = pl.col("influence", "bound").sum()
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
