"""Influence by domain × band × query group: the mean of a cell, and an interval that respects problems."""

import numpy as np
import polars as pl

from infra_core.seeds import generator

CELLS = {
    "group": pl.String(),  # of queries
    "domain": pl.String(),
    "band": pl.String(),
    "n_examples": pl.Int32(),
    "n_problems": pl.Int32(),  # clusters of the interval
    "scored_tokens": pl.Int64(),
    "influence": pl.Float64(),  # nats an example
    "low": pl.Float64(),
    "high": pl.Float64(),
    "influence_per_token": pl.Float64(),  # nats a scored token: summed influence / summed tokens
    "low_per_token": pl.Float64(),
    "high_per_token": pl.Float64(),
}
BATCH = 1 << 22  # counts held at once while resampling


def cells(
    scores: pl.DataFrame,
    ratings: pl.DataFrame,
    problems: pl.DataFrame | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> pl.DataFrame:
    """Average influence within each cell, with percentile bootstrap intervals over problems.

    Responses to one problem are not independent, so problems are resampled, not examples. The mean per
    scored token stands beside the mean per example because longer responses have more to sum.

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
        `CELLS`, sorted by group, domain and band (easy, medium, hard, unknown). The interval of a cell
        with a single problem is null.
    """
    rated = ratings.unique(subset="example_id", keep="first", maintain_order=True)
    joined = scores.select(
        "example_id", query_group="group", influence=pl.col("influence").cast(pl.Float64)
    ).join(rated.select("example_id", "domain", "band", "response_tokens"), on="example_id", how="inner")
    joined = joined.join(_problem_of(joined, problems), on="example_id", how="left")
    sums = joined.group_by("query_group", "domain", "band", "problem").agg(
        pl.len().alias("examples"), pl.col("influence").sum(), pl.col("response_tokens").sum().alias("tokens")
    )
    order = pl.col("band").replace_strict(
        {"easy": 0, "medium": 1, "hard": 2}, default=3, return_dtype=pl.Int8
    )
    sums = sums.sort("query_group", "domain", order, "problem")
    rows = [
        _cell(key, rows, seed=seed, resamples=resamples, level=level)
        for key, rows in sums.group_by("query_group", "domain", "band", maintain_order=True)
    ]
    return pl.DataFrame(rows, schema=CELLS, orient="row")


def _problem_of(joined: pl.DataFrame, problems: pl.DataFrame | None) -> pl.DataFrame:
    """Return `example_id`, `problem`. The example's own id stands in where no problem is named."""
    examples = joined.select("example_id").unique(maintain_order=True)
    if problems is None:
        return examples.with_columns(problem=pl.col("example_id"))
    named = problems.select("example_id", "group").unique(
        subset="example_id", keep="first", maintain_order=True
    )
    own = pl.concat_str(pl.lit("example "), "example_id")  # never equal to the name of a problem
    return examples.join(named, on="example_id", how="left").select(
        "example_id", problem=pl.coalesce(pl.concat_str(pl.lit("problem "), "group"), own)
    )


def _cell(key: tuple[object, ...], rows: pl.DataFrame, *, seed: int, resamples: int, level: float) -> tuple:
    """Return a row of `CELLS` from the per-problem sums of one cell."""
    group, domain, band = key
    table = rows.select("influence", "examples", "tokens").to_numpy().astype(np.float64)
    influence, examples, tokens = table.sum(axis=0)
    drawn = _resampled(table, generator(seed, "cells", str(group), str(domain), str(band)), resamples)
    per_example = _interval(drawn[:, 0], drawn[:, 1], len(table), level)
    per_token = _interval(drawn[:, 0], drawn[:, 2], len(table), level)
    return (
        group,
        domain,
        band,
        int(examples),
        len(table),
        int(tokens),
        influence / examples,
        *per_example,
        influence / tokens if tokens else None,
        *per_token,
    )


def _resampled(table: np.ndarray, random: np.random.Generator, resamples: int) -> np.ndarray:
    """Return [resamples, 3] column sums over problems drawn with replacement."""
    problems = len(table)
    at_once = max(1, BATCH // problems)
    sums = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        times = random.multinomial(problems, np.full(problems, 1 / problems), size=size)
        sums.append(times @ table)
    return np.concatenate(sums)


def _interval(
    total: np.ndarray, count: np.ndarray, problems: int, level: float
) -> tuple[float | None, float | None]:
    if problems < 2 or not (count > 0).all():
        return None, None
    low, high = np.quantile(total / count, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
