"""Influence by domain × band × source × query group: means of a cell, and intervals that respect problems."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from infra_core.attributes.clusters import LEVEL, UNKNOWN, interval, problem_of, resampled, weighted_mean
from infra_core.corpus.schema import distinct
from infra_core.seeds import generator

CELLS = {
    "group": pl.String(),  # of queries
    "across": pl.Boolean(),  # whether the queries are of another domain
    "domain": pl.String(),
    "band": pl.String(),
    "source": pl.String(),  # null: all sources together
    "n_examples": pl.Int32(),
    "n_problems": pl.Int32(),  # clusters of the intervals
    "scored_tokens": pl.Int64(),
    "influence": pl.Float64(),  # nats an example
    "low": pl.Float64(),
    "high": pl.Float64(),
    "influence_per_token": pl.Float64(),  # nats a scored token: summed influence / summed tokens
    "low_per_token": pl.Float64(),
    "high_per_token": pl.Float64(),
    "influence_equal_length": pl.Float64(),  # nats an example, if all bands were of the same lengths
    "low_equal_length": pl.Float64(),
    "high_equal_length": pl.Float64(),
    "compared": pl.Float64(),  # fraction of the cell's examples that the last mean rests on
}
BANDS = ("easy", "medium", "hard")
STRATA = 5
"""Quantiles of response length within a domain, each a stratum."""

_BY_LENGTH = [f"{what}{stratum}" for what in ("total", "count") for stratum in range(STRATA)]


@dataclass(frozen=True)
class _How:
    seed: int
    resamples: int
    level: float


def cells(
    scores: pl.DataFrame,
    ratings: pl.DataFrame,
    problems: pl.DataFrame | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = LEVEL,
) -> pl.DataFrame:
    """Average influence within each cell, with percentile bootstrap intervals over problems.

    Responses to one problem are not independent, so problems are resampled, not examples. Longer responses
    have more to sum, so two more means stand beside the one per example: per scored token, and at equal
    length. The latter averages within fifths of the domain's response lengths and weighs these alike for all
    bands. Fifths that a band of the domain lacks are left out; a cell that lacks one of the rest has no such
    mean.

    Parameters
    ----------
    scores
        `example_id`, `group` and `influence` of each scored example.
    ratings
        `RATINGS`; a scored example without a rating is left out.
    problems
        `example_id` and `group` of corpus rows: which problem an example answers. Without it, or where
        the group is null, every example is a problem of its own.
    seed
        Of the resampling; each cell draws its own numbers, so that one cell more moves no other.
    resamples
        Bootstrap samples a cell.
    level
        Of the intervals.

    Returns
    -------
    DataFrame
        `CELLS`, sorted by group, domain, band (easy, medium, hard, unknown) and source, all sources together
        first. Cells by source are there for domains with several. The intervals of a cell with a single
        problem are null.
    """
    rated = distinct(ratings)
    attributes = ["domain", "source", "band", "response_tokens"]
    examples = (
        scores
        .select("example_id")
        .unique()
        .join(rated.select("example_id", *attributes), on="example_id")
        .with_columns(stratum=fifth_of("response_tokens"))
    )
    examples = examples.join(problem_of(examples, problems), on="example_id", how="left")
    joined = scores.select(
        "example_id", query_group="group", influence=pl.col("influence").cast(pl.Float64)
    ).join(examples, on="example_id", how="inner")
    how, shares = _How(seed, resamples, level), _common_shares(examples)
    rows = [
        _cell(key, sums, shares.get(str(key[1]), {}), how)
        for by_source in (False, True)
        for key, sums in _sums(joined, by_source=by_source)
    ]
    order = pl.col("band").replace_strict({band: n for n, band in enumerate(BANDS)}, default=len(BANDS))
    return pl.DataFrame(rows, schema=CELLS, orient="row").sort(
        "group", "domain", order, "source", nulls_last=False
    )


def fifth_of(column: str) -> pl.Expr:
    """Return in which fifth of its domain a row is by a column, 0 the least; equal values are in one."""
    place = pl.col(column).rank("min") - 1
    return (place * STRATA // pl.len()).over("domain").cast(pl.Int32)


def _common_shares(examples: pl.DataFrame) -> dict[str, dict[int, float]]:
    """Return for each domain the strata that all its bands have, with the fraction of its examples there."""
    found = {}
    for (domain,), rows in examples.group_by("domain"):
        banded = rows.filter(pl.col("band").is_not_null())
        have = banded.group_by("stratum").agg(pl.col("band").n_unique())
        common = have.filter(pl.col("band") == banded["band"].n_unique())["stratum"].sort().to_list()
        found[str(domain)] = {
            stratum: rows.filter(pl.col("stratum") == stratum).height / rows.height for stratum in common
        }
    return found


def _sums(joined: pl.DataFrame, *, by_source: bool) -> Sequence[tuple[tuple[object, ...], pl.DataFrame]]:
    """Return every cell's key (group, domain, band, source) and its sums by problem."""
    if by_source:
        several = pl.col("source").n_unique().over("domain") > 1
        rows = joined.filter(several)
    else:
        rows = joined.with_columns(source=pl.lit(None, dtype=pl.String()))
    here = [pl.col("stratum") == stratum for stratum in range(STRATA)]
    sums = (
        rows
        .group_by("query_group", "domain", "band", "source", "problem")
        .agg(
            pl.col("influence").sum(),
            pl.len().alias("examples"),
            pl.col("response_tokens").sum().alias("tokens"),
            *(pl.col("influence").filter(at).sum().alias(f"total{n}") for n, at in enumerate(here)),
            *(at.sum().alias(f"count{n}") for n, at in enumerate(here)),
        )
        .sort("query_group", "domain", "band", "source", "problem")
    )
    return list(sums.group_by("query_group", "domain", "band", "source", maintain_order=True))


def _cell(
    key: tuple[object, ...], rows: pl.DataFrame, shares: dict[int, float], how: _How
) -> tuple[object, ...]:
    """Return a row of `CELLS` from the per-problem sums of one cell."""
    group, domain, band, source = key
    table = rows.select("influence", "examples", "tokens", *_BY_LENGTH).to_numpy().astype(np.float64)
    names = [str(part) for part in (group, domain, band)] + ([str(source)] if source is not None else [])
    drawn = resampled(table, generator(how.seed, "cells", *names), how.resamples)
    total = drawn[0]
    of_length = [total[3 + STRATA + stratum] for stratum in shares]
    weights = shares if all(of_length) else {}
    means = [
        (
            float(values[0]) if np.isfinite(values[0]) else None,
            *(interval(values, how.level) if len(table) > 1 else UNKNOWN),
        )
        for values in _means(drawn, weights)
    ]
    return (
        group,
        str(group).split("/", 1)[0] != domain,
        domain,
        band,
        source,
        int(total[1]),
        len(table),
        int(total[2]),
        *(number for mean in means for number in mean),
        sum(of_length) / total[1] if weights else None,
    )


def _means(sums: np.ndarray, shares: dict[int, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return influence per example, per token and at equal length, each [draws], from column sums."""
    totals, counts = (sums[:, [first + stratum for stratum in shares]] for first in (3, 3 + STRATA))
    with np.errstate(invalid="ignore", divide="ignore"):
        per_example, per_token = sums[:, 0] / sums[:, 1], sums[:, 0] / sums[:, 2]
    return per_example, per_token, weighted_mean(totals, counts, list(shares.values()))
