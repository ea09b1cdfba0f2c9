"""Influence by fifths of response length and of perplexity: what else than difficulty goes with it."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from infra_core.attributes.cells import fifth_of
from infra_core.attributes.clusters import UNKNOWN, interval, problem_of, resampled
from infra_core.corpus.schema import distinct
from infra_core.seeds import generator

LENGTH, PERPLEXITY = "response length", "perplexity"

STRATUM_MEANS = {
    "group": pl.String(),  # of queries
    "domain": pl.String(),
    "attribute": pl.String(),  # response length (tokens) | perplexity
    "stratum": pl.Int32(),  # 1 has the least of it
    "least": pl.Float64(),
    "most": pl.Float64(),
    "n_examples": pl.Int32(),
    "n_problems": pl.Int32(),  # clusters of the intervals
    "influence": pl.Float64(),  # nats an example
    "low": pl.Float64(),
    "high": pl.Float64(),
    "influence_per_token": pl.Float64(),  # nats a scored token
    "low_per_token": pl.Float64(),
    "high_per_token": pl.Float64(),
}
RESAMPLES = 1000


def strata(
    scores: pl.DataFrame,
    ratings: pl.DataFrame,
    perplexities: pl.DataFrame,
    problems: pl.DataFrame,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> pl.DataFrame:
    """Average influence within fifths of a domain, with percentile bootstrap intervals over problems.

    Equal values are in one fifth, so there may be fewer.

    Parameters
    ----------
    scores
        `example_id`, `group` and `influence` of each scored example.
    ratings
        `RATINGS`; a scored example without a rating is left out.
    perplexities
        `example_id` and `perplexity` of responses; one without is in no fifth of it.
    problems
        `example_id` and `group` of corpus rows: which problem an example answers; see `cells`.
    seed
        Of the resampling; each stratum draws its own numbers.
    resamples
        Bootstrap samples.

    Returns
    -------
    DataFrame
        `STRATUM_MEANS`, by group, domain, attribute and stratum. The intervals of a single problem are null.
    """
    rated = distinct(ratings)
    examples = (
        scores
        .select("example_id")
        .unique(maintain_order=True)
        .join(rated.select("example_id", "domain", "response_tokens"), on="example_id", maintain_order="left")
    )
    known = examples.join(problem_of(examples, problems), on="example_id", maintain_order="left").join(
        perplexities.unique("example_id", keep="first"), on="example_id", how="left", maintain_order="left"
    )
    influence = scores.select("example_id", "group", influence=pl.col("influence").cast(pl.Float64))
    rows = [
        row
        for attribute, column in ((LENGTH, "response_tokens"), (PERPLEXITY, "perplexity"))
        for row in _means(attribute, column, known, influence, seed, resamples)
    ]
    return pl.DataFrame(rows, schema=STRATUM_MEANS, orient="row").sort(
        "group", "domain", "attribute", "stratum"
    )


def _means(
    attribute: str, column: str, known: pl.DataFrame, influence: pl.DataFrame, seed: int, resamples: int
) -> Iterator[tuple[object, ...]]:
    placed = known.filter(pl.col(column).is_not_null()).with_columns(stratum=fifth_of(column) + 1)
    bounds = placed.group_by("domain", "stratum").agg(
        least=pl.col(column).min().cast(pl.Float64), most=pl.col(column).max().cast(pl.Float64)
    )
    keys = ["group", "domain", "stratum"]
    sums = (
        placed
        .join(influence, on="example_id", maintain_order="left")
        .group_by(*keys, "problem")
        .agg(
            pl.col("influence").sum(),
            examples=pl.len().cast(pl.Float64),
            tokens=pl.col("response_tokens").cast(pl.Float64).sum(),
        )
        .join(bounds, on=["domain", "stratum"])
        .sort(*keys, "problem")
    )
    for (group, domain, stratum), own in sums.group_by(keys, maintain_order=True):
        draw = generator(seed, "strata", attribute, str(group), str(domain), str(stratum))
        drawn = resampled(own.select("influence", "examples", "tokens").to_numpy(), draw, resamples)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (drawn[:, 0] / drawn[:, 1], drawn[:, 0] / drawn[:, 2])
        yield (
            group,
            domain,
            attribute,
            stratum,
            *own.select("least", "most").row(0),
            int(drawn[0, 1]),
            own.height,
            *(
                number
                for mean in means
                for number in (float(mean[0]), *(interval(mean) if own.height > 1 else UNKNOWN))
            ),
        )
