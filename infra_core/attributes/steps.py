"""Influence by behaviour: what kinds of steps teach, also against others at the same place of a trace."""

from collections.abc import Iterable

import polars as pl

from infra_core.attributes.places import RESAMPLES, means_by, means_schema, place_at, sum_columns

BEHAVIOUR, SPANS = "behaviour", "n_spans"
STEPS = means_schema(BEHAVIOUR, SPANS)


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
        place=place_at(middle, pl.col("of"))
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
        .group_by(sum_columns(BEHAVIOUR))
        .agg(
            pl.col("influence").sum(),
            pl.col("tokens").cast(pl.Int64).sum(),
            n_spans=pl.len().cast(pl.Int64),
        )
    )


def steps(parts: Iterable[pl.DataFrame], *, seed: int, resamples: int = RESAMPLES) -> pl.DataFrame:
    """Average what `step_sums` found, part by part, as `places.means_by` says; schema `STEPS`."""
    return means_by(BEHAVIOUR, SPANS, parts, seed=seed, name="steps", resamples=resamples)
