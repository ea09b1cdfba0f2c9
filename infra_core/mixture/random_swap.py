"""The control of a flip: as much leaves and comes in, whatever its difficulty."""

import polars as pl

from infra_core.mixture.flip import flip
from infra_core.mixture.pool import Pools, Swap, explain_shortage, fill, match_up, shuffled, tokens
from infra_core.recipe import Flip, RandomSwap


def random_swap(rule: RandomSwap, like: Flip, pools: Pools, seed: int) -> dict[str, Swap]:
    """Return per domain a swap of the size of the flip `like`, its rows drawn from all bands.

    With `match: rows` as many rows leave as in that flip, with `match: tokens` as many tokens, per domain.
    The size of a flip with a `fraction` hangs on the rows it drew, so give both arms one seed.
    """
    swaps = {}
    for domain, model in flip(like, pools, seed).items():
        leaving, incoming = (
            shuffled(rows.filter(pl.col("domain") == domain), seed, "random", domain, side)
            for rows, side in ((pools.corpus, "out"), (pools.reserve, "in"))
        )
        if rule.match == "rows":
            wanted = leaving.head(model.leaving.height)
        else:
            wanted = fill(leaving, tokens(model.leaving))
        out, come = match_up(wanted, incoming, rule.match)
        swaps[domain] = Swap(out, come, explain_shortage(domain, f"{domain} random swap", wanted, out))
    return swaps
