"""Pruning by influence: the rows that are worth least leave, by score and by rank.

After Humane et al. 2025, arXiv:2510.06108. What it leaves open is fixed here: each query group is a judge;
a row's score is its benefit summed over judges, its rank the mean of its places with them. Both order the
rows of a domain from worst to best. A row fails if it is among the first so many of both orders; so many
are looked at that as many fail as are to go.
"""

import logging

import polars as pl

from infra_core.errors import DataError
from infra_core.mixture.pools import Pools, Swap
from infra_core.recipe import Prune

logger = logging.getLogger(__name__)


def prune(rule: Prune, benefit: pl.DataFrame, pools: Pools) -> dict[str, Swap]:
    """Return per domain which rows leave; nothing comes in.

    Of every domain the same fraction leaves, so that none is crowded out: all together `fraction` of all
    rows, rounded. Rows without a score stay. Ties are broken by example_id.

    Parameters
    ----------
    rule
        Which judges, and how much.
    benefit
        Schema BENEFIT.
    pools
        What there is.

    Raises
    ------
    DataError
        If fine-tuning lost nothing and harm is all that the rule looks at.
    """
    judged = benefit.filter(pl.col("pool") == "corpus", _judges(rule.by))
    if judged.is_empty():
        raise DataError(
            f"prune by {rule.by} has no query group to judge by (all groups: "
            f"{benefit['group'].unique().sort().to_list()}); incorrect needs queries that fine-tuning lost"
        )
    one_sided = rule.by == "combined" and not judged["lost"].any()
    what = "combined, of what was gained alone: fine-tuning lost nothing" if one_sided else rule.by
    quotas = _quotas({domain: pools.of("corpus", domain).height for domain in pools.domains}, rule.fraction)
    return {domain: _pruned(domain, quota, judged, pools, what) for domain, quota in quotas.items()}


def _pruned(domain: str, quota: int, judged: pl.DataFrame, pools: Pools, what: str) -> Swap:
    leaving = _worst(pools.of("corpus", domain), judged).head(quota)
    if leaving.height < quota:
        logger.warning(
            "prune: %d of %d %s rows that should leave have a score; the others stay",
            leaving.height,
            quota,
            domain,
        )
    return Swap(leaving, pools.reserve.clear(), f"{domain} pruned, {what}")


def _judges(by: str) -> pl.Expr:
    return pl.lit(True) if by == "combined" else pl.col("lost") == (by == "incorrect")


def _quotas(rows: dict[str, int], fraction: float) -> dict[str, int]:
    """Share out round(fraction × all rows) over domains: whole parts first, then the largest remainders."""
    wanted = {domain: fraction * count for domain, count in rows.items()}
    quotas = {domain: int(share) for domain, share in wanted.items()}
    short = round(fraction * sum(rows.values())) - sum(quotas.values())
    by_remainder = sorted(wanted, key=lambda domain: (quotas[domain] - wanted[domain], domain))
    return quotas | {domain: quotas[domain] + 1 for domain in by_remainder[:short]}


def _worst(rows: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that were judged, those first that fail earliest in both orders."""
    place = pl.col("benefit").rank("average").over("group")
    known = judged.join(rows.select("example_id"), on="example_id", how="semi").with_columns(place=place)
    depths = (
        known
        .group_by("example_id")
        .agg(score=pl.col("benefit").sum(), rank=pl.col("place").mean())
        .with_columns(deepest=pl.max_horizontal(pl.col("score", "rank").rank("average")))
    )
    return rows.join(depths, on="example_id", how="inner").sort("deepest", "example_id").select(rows.columns)
