"""Weights in place of swaps: every row stays, and counts more or less. A domain's tokens count as before."""

from collections.abc import Mapping

import polars as pl

from infra_core.corpus.schema import Schema
from infra_core.mixture.pools import Pools, shuffled

WEIGHTS: Schema = {
    "example_id": pl.String(),
    "domain": pl.String(),
    "weight": pl.Float64(),
    "reason": pl.String(),
}


def by_benefit(total: pl.DataFrame, pools: Pools, strength: float) -> pl.DataFrame:
    """Weigh the rows of each domain by their place in it: 1 − strength for the worst to 1 + strength.

    Parameters
    ----------
    total
        `pool`, `example_id`, `benefit`: what a row is worth. Rows without it keep their weight of 1.
    pools
        What there is.
    strength
        How far weights reach before they are scaled so that scored tokens of the domain count as before.

    Returns
    -------
    DataFrame
        Schema WEIGHTS.
    """
    known = pools.corpus.join(total.filter(pl.col("pool") == "corpus"), on="example_id", how="inner")
    place = (pl.col("benefit").rank("average") - 0.5) / pl.len()
    raw = known.with_columns(weight=(1 + strength * (2 * place - 1)).over("domain"))
    return _scaled(raw.with_columns(reason=pl.format("{} weighed by influence", "domain")))


def by_band(directions: Mapping[str, tuple[str, str]], pools: Pools, strength: float) -> pl.DataFrame:
    """Weigh one band of each domain down and another up by as many scored tokens; schema WEIGHTS.

    A domain that lacks one of the two stays as it is.
    """
    frames = [pl.DataFrame(schema=pl.Schema(WEIGHTS))]
    for domain, (down, up) in sorted(directions.items()):
        rows = pools.of("corpus", domain)
        sums = dict(rows.group_by("band").agg(pl.col("scored_tokens").sum()).iter_rows())
        if not (sums.get(down) and sums.get(up)):
            continue
        weight = {down: 1 - strength, up: 1 + strength * sums[down] / sums[up]}
        moved = rows.filter(pl.col("band").is_in([down, up])).with_columns(
            weight=pl.col("band").replace_strict(weight, return_dtype=pl.Float64()),
            reason=pl.lit(f"{domain} weighed {down}→{up}"),
        )
        frames.append(moved.select(*WEIGHTS))
    return pl.concat(frames)


def redrawn(weights: pl.DataFrame, pools: Pools, seed: int) -> pl.DataFrame:
    """Return the same weights on other rows of the same domain, drawn at random: their control."""
    frames = [pl.DataFrame(schema=pl.Schema(WEIGHTS))]
    for (domain,), given in weights.sort("domain", "example_id").group_by("domain", maintain_order=True):
        rows = shuffled(pools.of("corpus", str(domain)), seed, "random", str(domain), "weights").head(
            given.height
        )
        drawn = rows.with_columns(given["weight"], reason=pl.lit(f"{domain} weighed at random"))
        frames.append(_scaled(drawn))
    return pl.concat(frames)


def _scaled(rows: pl.DataFrame) -> pl.DataFrame:
    """Scale weights so that in each domain Σ weight × scored tokens = Σ scored tokens of these rows."""
    counted = (pl.col("weight") * pl.col("scored_tokens")).sum()
    factor = (pl.col("scored_tokens").sum() / counted).over("domain")
    return rows.with_columns(pl.col("weight") * factor).select(*WEIGHTS)
