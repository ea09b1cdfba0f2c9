"""Budgets of rows and of tokens. No rule is decided here."""

import logging
from collections.abc import Sequence

import polars as pl

from infra_core.mixture.pools import tokens

logger = logging.getLogger(__name__)

SHORT = ", as far as the reserve goes"
"""What a reason goes on with where the reserve held too little; counts of its own follow."""


def fill(rows: pl.DataFrame, budget: int) -> pl.DataFrame:
    """Return rows, in their order, whose tokens come as near to `budget` as a first fit and one row allow.

    Off by at most half of the shortest row left behind: within 1 % if no row is over 2 % of `budget`.
    """
    return rows[fit(rows["tokens"].to_list(), budget)]


def fit(sizes: Sequence[int], budget: int) -> list[int]:
    """Return which of `sizes`, in their order, come as near to `budget` as a first fit and one more allow.

    Examples
    --------
    >>> fit([5, 9, 4, 3], 10), fit([5, 9, 4, 3], 11)
    ([0, 2], [0, 2, 3])
    """
    taken = first_fit(sizes, budget)
    total = sum(sizes[place] for place in taken)
    behind = set(range(len(sizes))) - set(taken)
    if behind:
        least = min(behind, key=lambda place: (sizes[place], place))
        if abs(total + sizes[least] - budget) < abs(total - budget):
            taken.append(least)
    return sorted(taken)


def first_fit(sizes: Sequence[int], budget: int) -> list[int]:
    """Return which of `sizes` fit into `budget` together, each taken in turn if there is room for it.

    Examples
    --------
    >>> first_fit([5, 9, 4, 3], 11)
    [0, 2]
    """
    taken, total = [], 0
    for place, size in enumerate(sizes):
        if total + size <= budget:
            taken.append(place)
            total += size
    return taken


def first(rows: pl.DataFrame, size: int, match: str) -> pl.DataFrame:
    """Return the first `size` rows, or the rows that fill `size` tokens."""
    return rows.head(size) if match == "rows" else fill(rows, size)


def size(rows: pl.DataFrame, match: str) -> int:
    """Count rows or tokens."""
    return rows.height if match == "rows" else tokens(rows)


def match_up(leaving: pl.DataFrame, incoming: pl.DataFrame, match: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut both sides, in their order, to the same number of rows or tokens: the smaller side's."""
    if size(incoming, match) < size(leaving, match):
        leaving = first(leaving, size(incoming, match), match)
    return leaving, first(incoming, size(leaving, match), match)


def explain_shortage(domain: str, reason: str, wanted: pl.DataFrame, out: pl.DataFrame) -> str:
    """Return `reason`, with a note (also logged) if fewer rows left than were wanted."""
    if out.height >= wanted.height:
        return reason
    logger.warning(
        "%s: the reserve lets only %d of %d rows leave (%d of %d tokens); give corpus.reserve more %s rows",
        reason,
        out.height,
        wanted.height,
        tokens(out),
        tokens(wanted),
        domain,
    )
    return f"{reason}{SHORT}: {out.height} of {wanted.height} rows left"
