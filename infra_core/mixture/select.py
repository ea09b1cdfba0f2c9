"""Selection: the best rows of corpus and reserve, until a domain is as large as it was or a part of that."""

from collections.abc import Callable

import polars as pl

from infra_core.mixture.budget import first, size
from infra_core.mixture.pools import Pools, Swap
from infra_core.recipe import Select

Order = Callable[[pl.DataFrame, str], pl.DataFrame]
"""Given candidates of a domain (`pool` and schema ROWS) and its name, those that may be taken, best first."""


def select(rule: Select, order: Order, pools: Pools, what: str) -> dict[str, Swap]:
    """Return per domain which corpus rows leave and which reserve rows come in.

    A domain in which nothing can be put in order stays as it is.
    """
    swaps = {}
    for domain in pools.domains:
        held, spare = pools.of("corpus", domain), pools.of("reserve", domain)
        sides = [("corpus", held)] + ([("reserve", spare)] if rule.pool == "both" else [])
        candidates = pl.concat(frame.select(pl.lit(name).alias("pool"), pl.all()) for name, frame in sides)
        ordered = order(candidates, domain)
        if ordered.is_empty():
            continue
        budget = round(rule.fraction * size(held, rule.match))
        chosen = first(ordered, budget, rule.match)
        kept = chosen.filter(pl.col("pool") == "corpus")
        swaps[domain] = Swap(
            held.join(kept, on="example_id", how="anti", maintain_order="left"),
            chosen.filter(pl.col("pool") == "reserve").drop("pool"),
            f"{domain} selected by {what}",
        )
    return swaps
