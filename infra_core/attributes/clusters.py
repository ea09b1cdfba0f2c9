"""Means over rows that are not independent: responses to one problem. Whole problems are resampled."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from infra_core.corpus.schema import distinct

LEVEL = 0.95
BATCH = 1 << 22  # counts held at once while resampling

Interval = tuple[float | None, float | None]
UNKNOWN: Interval = (None, None)


def problem_of(examples: pl.DataFrame, problems: pl.DataFrame | None) -> pl.DataFrame:
    """Return `example_id`, `problem` of each example. Its own id stands in where no problem is named.

    Parameters
    ----------
    examples
        `example_id`, in any number.
    problems
        `example_id` and `group` of corpus rows: which problem an example answers.
    """
    known = examples.select("example_id").unique(maintain_order=True)
    if problems is None:
        return known.with_columns(problem=pl.col("example_id"))
    named = distinct(problems.select("example_id", "group"))
    own = pl.concat_str(pl.lit("example "), "example_id")  # never equal to the name of a problem
    return known.join(named, on="example_id", how="left").select(
        "example_id", problem=pl.coalesce(pl.concat_str(pl.lit("problem "), "group"), own)
    )


def in_order(found: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Sort by columns; what is text comes out as categories, since numbers are compared far faster."""
    for name in reversed(columns):  # one at a time: several are compared as bytes that are made of them
        if not found[name].dtype.is_numeric():
            known = found[name].unique().cast(pl.String()).sort()
            found = found.with_columns(pl.col(name).cast(pl.Enum(known)))
        found = found.sort(name, maintain_order=True)
    return found


def resampled(
    sums: Float[np.ndarray, "problems columns"], random: np.random.Generator, resamples: int
) -> Float[np.ndarray, "draws columns"]:
    """Return column sums over all problems, and then over as many drawn with replacement, again and again."""
    problems = len(sums)
    at_once = max(1, BATCH // problems)
    drawn = [sums.sum(axis=0, keepdims=True)]
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn.append(random.multinomial(problems, np.full(problems, 1 / problems), size=size) @ sums)
    return np.concatenate(drawn)


def interval(means: Float[np.ndarray, " draws"], level: float = LEVEL) -> Interval:
    """Return the percentiles between which `level` of the resampled means lie, all but the first.

    Unknown if one of them is not finite.
    """
    if not np.isfinite(means).all():
        return UNKNOWN
    low, high = np.quantile(means[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_mean(
    totals: Float[np.ndarray, "draws strata"],
    counts: Float[np.ndarray, "draws strata"],
    weights: Sequence[float],
) -> Float[np.ndarray, " draws"]:
    """Return the means of strata, averaged by fixed weights; a stratum that is empty is left out."""
    filled = counts > 0
    means = np.divide(totals, counts, out=np.zeros_like(totals), where=filled)
    shares = np.asarray(weights) * filled
    with np.errstate(invalid="ignore"):
        return (means * shares).sum(axis=-1) / shares.sum(axis=-1)
