"""Which rows may leave a corpus and which may come in. Pure polars; no rule is decided here."""

import logging
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.screen import refused
from infra_core.errors import DataError
from infra_core.seeds import generator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swap:
    """What one rule does to one domain: `leaving` rows out, `incoming` rows in, both in seeded order."""

    leaving: pl.DataFrame
    incoming: pl.DataFrame
    reason: str


@dataclass(frozen=True)
class Pools:
    """Rows with their band and tokens, and none that the screen refused.

    Attributes
    ----------
    corpus
        What training would see if nothing were swapped, in corpus order.
    reserve
        What may come in: neither refused nor already held, one row per content.
    """

    corpus: pl.DataFrame
    reserve: pl.DataFrame


def _rated(rows: pl.DataFrame, ratings: pl.DataFrame, pool: str) -> pl.DataFrame:
    known = (
        ratings
        .filter(pl.col("pool") == pool)
        .unique("example_id", keep="first", maintain_order=True)
        .select("example_id", "band", tokens=pl.col("prompt_tokens") + pl.col("response_tokens"))
    )
    joined = rows.join(known, on="example_id", how="left", maintain_order="left")
    unrated = joined.filter(pl.col("tokens").is_null())
    if unrated.height:
        raise DataError(
            f"{unrated.height} of {rows.height} {pool} rows have no rating, first "
            f"{unrated['example_id'][0]}; rate the same {pool} that is mixed"
        )
    return joined


def open_pools(
    corpus: pl.DataFrame, reserve: pl.DataFrame, ratings: pl.DataFrame, screen: pl.DataFrame
) -> Pools:
    """Join what is known of both pools and leave out what the screen refused.

    Raises
    ------
    DataError
        If a row has no rating.
    """
    kept, spare = (
        _rated(
            rows.unique("example_id", keep="first", maintain_order=True).join(
                refused(screen, pool), on="example_id", how="anti", maintain_order="left"
            ),
            ratings,
            pool,
        )
        for rows, pool in ((corpus, "corpus"), (reserve, "reserve"))
    )
    return Pools(kept, spare.join(corpus, on="example_id", how="anti", maintain_order="left"))


def tokens(rows: pl.DataFrame) -> int:
    """Sum the tokens, prompt and response, of rows."""
    return int(rows["tokens"].sum())


def shuffled(rows: pl.DataFrame, seed: int, *names: str) -> pl.DataFrame:
    """Return the rows in the seeded order called `names`, whatever order they came in."""
    order = generator(seed, *names).permutation(rows.height)
    return rows.sort("example_id")[order]


def fill(rows: pl.DataFrame, budget: int) -> pl.DataFrame:
    """Return rows, in their order, whose tokens come as near to `budget` as a first fit and one row allow.

    Off by at most half of the shortest row left behind: within 1 % if no row is over 2 % of `budget`.
    """
    sizes = rows["tokens"].to_list()
    taken, total = [], 0
    for row, size in enumerate(sizes):
        if total + size <= budget:
            taken.append(row)
            total += size
    left = sorted(set(range(len(sizes))) - set(taken), key=lambda row: (sizes[row], row))
    if left and abs(total + sizes[left[0]] - budget) < abs(total - budget):
        taken.append(left[0])
    return rows[sorted(taken)]


def match_up(leaving: pl.DataFrame, incoming: pl.DataFrame, match: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut both sides, in their order, to the same number of rows or tokens: the smaller side's."""
    if match == "rows":
        rows = min(leaving.height, incoming.height)
        return leaving.head(rows), incoming.head(rows)
    if tokens(incoming) < tokens(leaving):
        leaving = fill(leaving, tokens(incoming))
    return leaving, fill(incoming, tokens(leaving))


def explain_shortage(domain: str, reason: str, wanted: pl.DataFrame, left: pl.DataFrame) -> str:
    """Return `reason`, with a note (also logged) if fewer rows left than were wanted."""
    if left.height >= wanted.height:
        return reason
    logger.warning(
        "%s: the reserve lets only %d of %d rows leave (%d of %d tokens); give corpus.reserve more %s rows",
        reason,
        left.height,
        wanted.height,
        tokens(left),
        tokens(wanted),
        domain,
    )
    return f"{reason}, as far as the reserve goes: {left.height} of {wanted.height} rows left"
