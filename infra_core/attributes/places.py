"""Influence a token by some label, such as a behaviour, also against all that stands at the same place."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from infra_core.attributes.clusters import UNKNOWN, Interval, in_order, interval, resampled
from infra_core.seeds import generator

PLACES = 5
"""A response is cut into so many stretches of equal length; what stands in one has its middle there."""

RESAMPLES = 1000


def means_schema(label: str, count: str) -> dict[str, Any]:
    """Return the schema of means by `label`, where `count` says how many of them were seen."""
    return {
        "group": pl.String(),  # of queries
        "domain": pl.String(),
        label: pl.String(),
        count: pl.Int64(),
        "n_problems": pl.Int32(),  # that have such: clusters of the intervals
        "tokens": pl.Int64(),
        "share": pl.Float64(),  # fraction of the domain's response tokens
        "influence": pl.Float64(),  # nats a token
        "low": pl.Float64(),
        "high": pl.Float64(),
        "influence_beyond_place": pl.Float64(),  # nats a token, beyond all that stands at the same place
        "low_beyond_place": pl.Float64(),
        "high_beyond_place": pl.Float64(),
    }


def place_at(middle: pl.Expr, of: pl.Expr) -> pl.Expr:
    """Return in which stretch of a response of length `of` something is, given its middle in tokens."""
    return (middle * PLACES / of).floor().clip(0, PLACES - 1).cast(pl.Int32)


def sum_columns(label: str) -> list[str]:
    """Return what sums are by."""
    return ["group", "domain", "problem", label, "place"]


def means_by(
    label: str, count: str, parts: Iterable[pl.DataFrame], *, seed: int, name: str, resamples: int = RESAMPLES
) -> pl.DataFrame:
    """Average influence a token by label, with percentile bootstrap intervals over problems.

    Where something stands in a response matters by itself: openings restate, ends answer. So beside the plain
    mean stands one beyond place: in each fifth of the responses, the mean of the label less that of all that
    is there, averaged as the label's own tokens lie.

    Parameters
    ----------
    label, count
        Columns of the sums: what they are by, and how many are in them.
    parts
        Sums of `influence`, `tokens` and `count` by `sum_columns`, part by part.
    seed, name
        Of the resampling; problems of a domain are drawn for all labels at once.
    resamples
        Bootstrap samples.

    Returns
    -------
    DataFrame
        `means_schema`, by group, domain and label. The intervals of what a single problem shows are null.
    """
    schema, columns = means_schema(label, count), sum_columns(label)
    frames = [frame for frame in parts if frame.height]
    if not frames:
        return pl.DataFrame(schema=schema)
    sums = pl.concat(frames).group_by(columns).agg(pl.col("influence", "tokens", count).sum())
    rows = []
    for group, domain in sums.select(columns[:2]).unique().cast(pl.String()).sort(columns[:2]).iter_rows():
        here = in_order(sums.filter(group=group, domain=domain), *columns[2:])
        labelled = list(here.group_by(label, maintain_order=True))
        table = _by_place(here, "all")
        for (value,), own in labelled:
            table = table.join(_by_place(own, f"{value}"), on="problem", how="left", maintain_order="left")
        draw = generator(seed, name, group, domain)
        drawn = resampled(table.drop("problem").fill_null(0.0).to_numpy(), draw, resamples)
        everything, *by_label = np.split(drawn, 1 + len(labelled), axis=1)
        for ((value,), own), sums_of in zip(labelled, by_label, strict=True):
            problems, tokens = own["problem"].n_unique(), int(own["tokens"].sum())
            rows.append((
                group,
                domain,
                value,
                int(own[count].sum()),
                problems,
                tokens,
                tokens / int(here["tokens"].sum()),
                *(
                    number
                    for mean in _means(everything, sums_of)
                    for number in _with_interval(mean, problems)
                ),
            ))
    return pl.DataFrame(rows, schema=schema, orient="row").sort("group", "domain", label)


def clear_sign(low: str, high: str) -> pl.Expr:
    """Return 1 or −1 where an interval excludes zero, else 0."""
    sign = (pl.col(low) > 0).cast(pl.Int8) - (pl.col(high) < 0).cast(pl.Int8)
    return sign.fill_null(0)


def correlates(found: pl.DataFrame) -> pl.DataFrame:
    """Return the labels whose mean and mean beyond place have opposite signs, both clear of zero."""
    plain, held = (clear_sign(f"low{by}", f"high{by}") for by in ("", "_beyond_place"))
    return found.filter(plain * held < 0)


def _by_place(sums: pl.DataFrame, whose: str) -> pl.DataFrame:
    """Return a row a problem: influence in each place, then tokens in each, as floats."""
    here = [pl.col("place") == place for place in range(PLACES)]
    return sums.group_by("problem", maintain_order=True).agg(
        pl.col(what).filter(at).sum().cast(pl.Float64).alias(f"{whose} {what} {place}")
        for what in ("influence", "tokens")
        for place, at in enumerate(here)
    )


def _means(
    everything: Float[np.ndarray, "draws columns"], own: Float[np.ndarray, "draws columns"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a label's influence a token, and that beyond place, each [draws], from column sums."""
    (all_influence, all_tokens), (influence, tokens) = (
        np.split(each, 2, axis=1) for each in (everything, own)
    )
    total = tokens.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(tokens > 0, tokens * all_influence / all_tokens, 0.0)
        return influence.sum(axis=1) / total, (influence.sum(axis=1) - expected.sum(axis=1)) / total


def _with_interval(means: Float[np.ndarray, " draws"], problems: int) -> Sequence[float | None]:
    """Return a mean and its interval; draws that hold no such label say nothing."""
    value, told = float(means[0]), means[np.isfinite(means)]
    found: Interval = interval(told) if problems > 1 else UNKNOWN
    return value, *found
