"""What a rule may know of a row beside its difficulty and length, and how influence becomes benefit.

Influence on a group of queries is how much likelier a row makes them, in nats. A *benefit* is influence
turned so that more is better (likelier answers that fine-tuning lost are worse), over the root mean square
of its group in the corpus, so that groups of long answers do not outvote others. Zero stays zero.
"""

from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from infra_core.corpus.schema import SPANS, Schema
from infra_core.errors import DataError
from infra_core.mixture.pools import Pools

INFLUENCE: Schema = {
    "pool": pl.String(),  # corpus | reserve
    "example_id": pl.String(),
    "group": pl.String(),  # of queries: "<domain>/<kind>"
    "influence": pl.Float64(),  # nats
}

BENEFIT: Schema = {
    "pool": pl.String(),
    "example_id": pl.String(),
    "group": pl.String(),
    "lost": pl.Boolean(),  # whether the queries are answers that fine-tuning lost
    "benefit": pl.Float64(),
}

SPAN_INFLUENCE: Schema = {**SPANS, "group": pl.String(), "influence": pl.Float64()}
"""One row a span of a response and query group."""

LABELLED: Schema = {**SPANS, "label": pl.String()}
"""One row a span of a response, or a word, which then has the kind and place of its span."""


@dataclass(frozen=True)
class Evidence:
    """What was found out of rows; None where a rule did not ask for it.

    Attributes
    ----------
    influence
        Schema INFLUENCE.
    directions
        Schema DIRECTIONS.
    perplexity
        `pool`, `example_id`, `nll_per_token` under the model before fine-tuning.
    nearness
        `pool`, `example_id`, `cosines`: how near a row's embedding is to that of each query.
    query_domains
        Of each entry of `cosines`.
    spans
        Schema SPAN_INFLUENCE, of corpus rows.
    labelled
        Schema LABELLED, of corpus rows: spans by what they do, or words by their class.
    """

    influence: pl.DataFrame | None = None
    directions: pl.DataFrame | None = None
    perplexity: pl.DataFrame | None = None
    nearness: pl.DataFrame | None = None
    query_domains: tuple[str, ...] = ()
    spans: pl.DataFrame | None = None
    labelled: pl.DataFrame | None = None


NOTHING = Evidence()
T = TypeVar("T")


def given(value: T | None, what: str) -> T:
    """Return a piece of evidence.

    Raises
    ------
    DataError
        If it is not there: a rule was called without what it decides by.
    """
    if value is None:
        raise DataError(f"this rule decides by {what}, and was given none; hand it over as evidence")
    return value


def benefits(influence: pl.DataFrame, pools: Pools, toward: str) -> pl.DataFrame:
    """Turn influence into benefit, for rows of both pools; schema BENEFIT.

    Parameters
    ----------
    influence
        Schema INFLUENCE. Rows without it have no benefit and are not listed.
    pools
        Which rows count, and their domains.
    toward
        ``own``: of a row only queries of its domain count; ``all``: those of every domain.
    """
    both = pl.concat(
        frame.select("example_id", "domain", pool=pl.lit(name))
        for name, frame in (("corpus", pools.corpus), ("reserve", pools.reserve))
    )
    known = influence.join(both, on=["pool", "example_id"], how="inner", maintain_order="left")
    if toward == "own":
        known = known.filter(pl.col("group").str.split("/").list.first() == pl.col("domain"))
    sizes = _sizes(influence)
    return (
        known
        .join(sizes, on="group", how="left", maintain_order="left")
        .with_columns(lost=_is_lost())
        .with_columns(
            benefit=pl.when("lost").then(-pl.col("influence")).otherwise("influence") / pl.col("size")
        )
        .select(*BENEFIT)
        .cast(pl.Schema(BENEFIT))
    )


def span_benefits(spans: pl.DataFrame, influence: pl.DataFrame, pools: Pools, toward: str) -> pl.DataFrame:
    """Return one row a span with its `domain` and its `benefit`, summed over query groups."""
    known = spans.join(
        pools.corpus.select("example_id", "domain"), on="example_id", how="inner", maintain_order="left"
    )
    if toward == "own":
        known = known.filter(pl.col("group").str.split("/").list.first() == pl.col("domain"))
    turned = pl.when(_is_lost()).then(-pl.col("influence")).otherwise("influence") / pl.col("size")
    return (
        known
        .join(_sizes(influence), on="group", how="left", maintain_order="left")
        .group_by("domain", *SPANS, maintain_order=True)
        .agg(benefit=turned.sum())
    )


def total_benefit(benefit: pl.DataFrame) -> pl.DataFrame:
    """Sum the benefits of a row over query groups: `pool`, `example_id`, `benefit`."""
    return benefit.group_by("pool", "example_id", maintain_order=True).agg(pl.col("benefit").sum())


def _is_lost() -> pl.Expr:
    return pl.col("group").str.ends_with("/lost")


def _sizes(influence: pl.DataFrame) -> pl.DataFrame:
    """Return the root mean square of each group's influence over the corpus; 1 where all of it is zero."""
    size = (pl.col("influence") ** 2).mean().sqrt()
    return (
        influence
        .filter(pl.col("pool") == "corpus")
        .group_by("group", maintain_order=True)
        .agg(size=pl.when(size > 0).then(size).otherwise(1.0))
    )
