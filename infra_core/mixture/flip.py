"""The difficulty flip: easy maths → harder maths, hard code → easier code.

After Kou et al. 2025, arXiv:2505.19949, which finds that hard maths helps both domains and easy code helps
code most.
"""

import polars as pl

from infra_core.mixture.pool import Pools, Swap, explain_shortage, match_up, shuffled
from infra_core.recipe import Flip


def flip(rule: Flip, pools: Pools, seed: int) -> dict[str, Swap]:
    """Return per domain which rows of one band leave for reserve rows of another.

    Rows leave and come in by seeded order, under one budget of rows or of tokens (prompt and response).
    A reserve too small for the budget sets the budget; the reason then says so.
    """
    swaps = {}
    for domain, (out_of, into) in sorted(rule.directions.items()):
        leaving, incoming = (
            shuffled(
                rows.filter(pl.col("domain") == domain, pl.col("band") == band), seed, "flip", domain, side
            )
            for rows, band, side in ((pools.corpus, out_of, "out"), (pools.reserve, into, "in"))
        )
        wanted = leaving.head(round(rule.fraction * leaving.height))
        out, come = match_up(wanted, incoming, rule.match)
        reason = explain_shortage(domain, f"{domain} {out_of}→{into}", wanted, out)
        swaps[domain] = Swap(out, come, reason)
    return swaps
