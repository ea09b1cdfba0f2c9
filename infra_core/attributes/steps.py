"""Influence by behaviour: what kinds of steps teach, also against others at the same place of a trace."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from infra_core.attributes.clusters import UNKNOWN, Interval, interval, resampled
from infra_core.seeds import generator

STEPS = {
    "group": pl.String(),  # of queries
    "domain": pl.String(),
    "behaviour": pl.String(),
    "n_spans": pl.Int64(),
    "n_problems": pl.Int32(),  # that have such spans: clusters of the intervals
    "tokens": pl.Int64(),
    "share": pl.Float64(),  # fraction of the domain's response tokens
    "influence": pl.Float64(),  # nats a token
    "low": pl.Float64(),
    "high": pl.Float64(),
    "influence_beyond_place": pl.Float64(),  # nats a token, beyond all spans at the same place
    "low_beyond_place": pl.Float64(),
    "high_beyond_place": pl.Float64(),
}
PLACES = 5
"""A response is cut into so many stretches of equal length; a span is in the one that its middle is in."""

SUMS = ["group", "domain", "problem", "behaviour", "place"]
RESAMPLES = 1000


def step_sums(behaved: pl.DataFrame, scores: pl.DataFrame, examples: pl.DataFrame) -> pl.DataFrame:
    """Sum influence, tokens and spans by group, domain, problem, behaviour and place, of one part.

    Parameters
    ----------
    behaved
        `corpus.schema.BEHAVED`.
    scores
        `example_id`, `group` and `spans` of SCORES.
    examples
        `example_id`, `domain` and `problem` of those that count.
    """
    middle = pl.col("before") + pl.col("tokens") / 2
    placed = behaved.join(examples, on="example_id", how="inner").with_columns(
        place=(middle * PLACES / pl.col("of")).floor().clip(0, PLACES - 1).cast(pl.Int32)
    )
    influence = (
        scores
        .unique(["example_id", "group"], keep="first", maintain_order=True)
        .with_columns(span=pl.int_ranges(0, pl.col("spans").list.len(), dtype=pl.Int32()))
        .explode("spans", "span")
        .select("example_id", "group", "span", influence=pl.col("spans").cast(pl.Float64))
    )
    return (
        placed
        .join(influence, on=["example_id", "span"], how="inner")
        .group_by(SUMS)
        .agg(
            pl.col("influence").sum(),
            pl.col("tokens").cast(pl.Int64).sum(),
            n_spans=pl.len().cast(pl.Int64),
        )
    )


def steps(parts: Iterable[pl.DataFrame], *, seed: int, resamples: int = RESAMPLES) -> pl.DataFrame:
    """Average influence a token by behaviour, with percentile bootstrap intervals over problems.

    Where a step stands in a response matters by itself: openings restate, ends answer. So beside the plain
    mean stands one beyond place: in each fifth of the responses, the mean of the behaviour less that of all
    spans there, averaged as the behaviour's own tokens lie.

    Parameters
    ----------
    parts
        What `step_sums` found, part by part.
    seed
        Of the resampling; each behaviour draws its own numbers.
    resamples
        Bootstrap samples.

    Returns
    -------
    DataFrame
        `STEPS`, by group, domain and behaviour. The intervals of what a single problem shows are null.
    """
    frames = [frame for frame in parts if frame.height]
    if not frames:
        return pl.DataFrame(schema=STEPS)
    sums = pl.concat(frames).group_by(SUMS).agg(pl.col("influence", "tokens", "n_spans").sum()).sort(SUMS)
    rows = []
    for (group, domain), here in sums.group_by("group", "domain", maintain_order=True):
        everything = _by_place(here, "all")
        for (behaviour,), own in here.group_by("behaviour", maintain_order=True):
            table = everything.join(_by_place(own, "own"), on="problem", how="left").fill_null(0.0)
            draw = generator(seed, "steps", str(group), str(domain), str(behaviour))
            drawn = resampled(table.drop("problem").to_numpy(), draw, resamples)
            problems = own["problem"].n_unique()
            tokens = int(own["tokens"].sum())
            rows.append((
                group,
                domain,
                behaviour,
                int(own["n_spans"].sum()),
                problems,
                tokens,
                tokens / int(here["tokens"].sum()),
                *(number for mean in _means(drawn) for number in _with_interval(mean, problems)),
            ))
    return pl.DataFrame(rows, schema=STEPS, orient="row").sort("group", "domain", "behaviour")


def correlates(found: pl.DataFrame) -> pl.DataFrame:
    """Return the steps whose mean and mean beyond place have opposite signs, both clear of zero."""
    clear = [
        (pl.col(f"low{by}") > 0).cast(pl.Int8) - (pl.col(f"high{by}") < 0).cast(pl.Int8)
        for by in ("", "_beyond_place")
    ]
    return found.filter(clear[0] * clear[1] < 0)


def _by_place(sums: pl.DataFrame, whose: str) -> pl.DataFrame:
    """Return a row a problem: influence in each place, then tokens in each, as floats."""
    here = [pl.col("place") == place for place in range(PLACES)]
    return sums.group_by("problem", maintain_order=True).agg(
        pl.col(what).filter(at).sum().cast(pl.Float64).alias(f"{whose} {what} {place}")
        for what in ("influence", "tokens")
        for place, at in enumerate(here)
    )


def _means(drawn: Float[np.ndarray, "draws columns"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the behaviour's influence a token, and that beyond place, each [draws], from column sums."""
    all_influence, all_tokens, influence, tokens = np.split(drawn, 4, axis=1)
    total = tokens.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(tokens > 0, tokens * all_influence / all_tokens, 0.0)
        return influence.sum(axis=1) / total, (influence.sum(axis=1) - expected.sum(axis=1)) / total


def _with_interval(means: Float[np.ndarray, " draws"], problems: int) -> Sequence[float | None]:
    """Return a mean and its interval; draws that hold no such step say nothing."""
    value, told = float(means[0]), means[np.isfinite(means)]
    found: Interval = interval(told) if problems > 1 else UNKNOWN
    return value, *found
