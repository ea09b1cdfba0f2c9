"""The difficulty flip: easy maths → harder maths, hard code → easier code.

After Kou et al. 2025, arXiv:2505.19949, which finds that hard maths helps both domains and easy code helps
code most.
"""

from collections.abc import Mapping

import polars as pl

from infra_core.mixture.alike import alike
from infra_core.mixture.budget import explain_shortage, first, match_up
from infra_core.mixture.pools import Pools, Swap, shuffled
from infra_core.recipe import Flip

Directions = Mapping[str, tuple[str, str, str]]
"""Domain → the band that leaves, the band that comes in, and why."""


def directions_of(rule: Flip, measured: pl.DataFrame | None) -> Directions:
    """Return where a flip goes: as its rule says, or as was measured (schema DIRECTIONS)."""
    if measured is None:
        given = rule.directions if isinstance(rule.directions, dict) else {}
        return {domain: (*bands, f"{domain} {bands[0]}→{bands[1]}") for domain, bands in given.items()}
    clear = measured.filter(pl.col("out_of").is_not_null()).select("domain", "out_of", "into")
    return {
        domain: (out_of, into, f"{domain} {out_of}→{into}, as measured")
        for domain, out_of, into in clear.iter_rows()
    }


def reversed_directions(directions: Directions) -> Directions:
    """Return the same with what leaves and what comes in changed over."""
    return {
        domain: (into, out_of, f"{domain} {into}→{out_of}")
        for domain, (out_of, into, _) in directions.items()
    }


def flip(rule: Flip, directions: Directions, pools: Pools, seed: int) -> dict[str, Swap]:
    """Return per domain which rows of one band leave for reserve rows of another.

    Rows leave and come in by seeded order, or the latter by likeness if the rule holds something, under one
    budget of rows or of tokens (prompt and response). A reserve too small for the budget sets the budget; the
    reason then says so.
    """
    swaps = {}
    for domain, (out_of, into, why) in sorted(directions.items()):
        leaving, incoming = (
            shuffled(pools.of(pool, domain).filter(pl.col("band") == band), seed, "flip", domain, side)
            for pool, band, side in (("corpus", out_of, "out"), ("reserve", into, "in"))
        )
        wanted = leaving.head(round(rule.fraction * leaving.height))
        if rule.budget is not None:
            wanted = first(wanted, rule.budget, rule.match)
        if rule.hold:
            incoming = alike(wanted, incoming, rule.hold)
        out, come = match_up(wanted, incoming, rule.match)
        swaps[domain] = Swap(out, come, explain_shortage(domain, why, wanted, out))
    return swaps
