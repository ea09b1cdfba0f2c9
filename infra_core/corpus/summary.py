"""Rows in a few numbers: how many of which kind, how long they are. Pure."""

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from infra_core.corpus.schema import Schema

HISTOGRAM: Schema = {
    "from": pl.Int64(),  # tokens, inclusive
    "to": pl.Int64(),  # exclusive
    "rows": pl.Int64(),
}


def count_by(rows: pl.DataFrame, *kinds: str) -> pl.DataFrame:
    """Count rows, and sum their `tokens` if they have some, by columns; unknown kinds last."""
    sums = [pl.col("tokens").cast(pl.Int64()).sum()] if "tokens" in rows.columns else []
    counted = rows.group_by(*kinds).agg(pl.len().cast(pl.Int64()).alias("rows"), *sums)
    order = [_band_order(kind) if kind == "band" else pl.col(kind) for kind in kinds]
    return counted.sort(*order, nulls_last=True)


def _band_order(kind: str) -> pl.Expr:
    places = {"easy": 0, "medium": 1, "hard": 2}
    return pl.col(kind).replace_strict(places, default=len(places), return_dtype=pl.Int8())


def histogram(tokens: pl.Series) -> pl.DataFrame:
    """Count rows by length in bins that double, from the first that has one to the last; schema HISTOGRAM.

    Examples
    --------
    >>> histogram(pl.Series([3, 5, 6, 20])).rows()
    [(2, 4, 1), (4, 8, 2), (8, 16, 0), (16, 32, 1)]
    """
    known = tokens.drop_nulls().cast(pl.Int64()).clip(lower_bound=1)
    if known.is_empty():
        return pl.DataFrame(schema=pl.Schema(HISTOGRAM))
    ends = _doubling(int(known.min()), int(known.max()))  # type: ignore[arg-type]
    rows = [
        (low, high, int(known.is_between(low, high, closed="left").sum())) for low, high in pairwise(ends)
    ]
    return pl.DataFrame(rows, schema=pl.Schema(HISTOGRAM), orient="row")


def _doubling(least: int, most: int) -> Sequence[int]:
    return [2**power for power in range(least.bit_length() - 1, most.bit_length() + 1)]


def reasons(dropped: pl.DataFrame) -> pl.DataFrame:
    """Count rows by `source` and the kind of `reason`: what stands before its evidence."""
    kind = pl.col("reason").str.split(":").list.first().str.strip_chars()
    return count_by(dropped.with_columns(reason=kind), "source", "reason")
