"""Which band of a domain should leave and which come in, read from influence, as far as that is clear."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from infra_core.attributes.clusters import interval, problem_of, resampled
from infra_core.corpus.schema import DIRECTIONS, distinct
from infra_core.seeds import generator

RESAMPLES = 1000


def measured_directions(
    benefit: pl.DataFrame,
    ratings: pl.DataFrame,
    problems: pl.DataFrame | None = None,
    *,
    match: str,
    seed: int,
) -> pl.DataFrame:
    """Find for each domain the band whose rows help least and the one whose rows help most.

    Only bands whose own interval excludes zero are looked at, and the difference between the two must exclude
    zero as well; else nothing is said of the domain. A mean is over rows or over scored tokens, as the swap
    is to be matched.

    Parameters
    ----------
    benefit
        `example_id` and `benefit` of each corpus row; positive is helpful.
    ratings
        `RATINGS`.
    problems
        `example_id` and `group`; see `cells`.
    match
        ``rows`` or ``tokens``.
    seed
        Of the resampling, over problems.

    Returns
    -------
    DataFrame
        `DIRECTIONS`, a row a domain.
    """
    rated = distinct(ratings)
    banded = rated.filter(pl.col("band").is_not_null())
    rows = benefit.join(
        banded.select("example_id", "domain", "band", "response_tokens"), on="example_id", how="inner"
    ).join(problem_of(benefit, problems), on="example_id", how="left")
    size = pl.len() if match == "rows" else pl.col("response_tokens").sum()
    sums = (
        rows
        .group_by("domain", "band", "problem")
        .agg(pl.col("benefit").sum(), size=size)
        .sort("domain", "band", "problem")
    )
    bands: dict[str, dict[str, _Band]] = {domain: {} for domain in rows["domain"].unique().sort()}
    for (domain, band), cell in sums.group_by("domain", "band", maintain_order=True):
        table = cell.select("benefit", "size").to_numpy().astype(np.float64)
        if len(table) > 1:
            drawn = resampled(table, generator(seed, "directions", str(domain), str(band)), RESAMPLES)
            bands[str(domain)][str(band)] = _Band(str(band), drawn[:, 0] / drawn[:, 1], len(table))
    unit = "row" if match == "rows" else "token"
    found = [_direction(domain, list(known.values()), unit) for domain, known in bands.items()]
    return pl.DataFrame(found, schema=pl.Schema(DIRECTIONS), orient="row")


@dataclass(frozen=True)
class _Band:
    name: str
    means: np.ndarray  # of all problems first, then of each resample
    problems: int


def _direction(domain: str, bands: Sequence[_Band], unit: str) -> tuple[object, ...]:
    clear = sorted((band for band in bands if _excludes_zero(band.means)), key=lambda band: band.means[0])
    if len(clear) < 2:
        return domain, None, None, None, None, None, unit, None
    worst, best = clear[0], clear[-1]
    gain = best.means - worst.means
    names = (worst.name, best.name) if _excludes_zero(gain) else (None, None)
    return domain, *names, float(gain[0]), *interval(gain), unit, min(worst.problems, best.problems)


def _excludes_zero(means: np.ndarray) -> bool:
    low, high = interval(means)
    return low is not None and high is not None and not low <= 0 <= high
