"""`mix`: a rule, a corpus and a reserve become a mixture, which is a corpus with three more columns."""

import polars as pl

from infra_core.corpus.schema import CORPUS, MIXTURE
from infra_core.errors import RequestError
from infra_core.mixture.flip import flip
from infra_core.mixture.pool import Pools, Swap, open_pools
from infra_core.mixture.random_swap import random_swap
from infra_core.recipe import Flip, KeepAll, MixParams, RandomSwap


def mix(
    params: MixParams,
    corpus: pl.DataFrame,
    reserve: pl.DataFrame | None,
    ratings: pl.DataFrame,
    screen: pl.DataFrame,
) -> pl.DataFrame:
    """Return the mixture that a rule makes of a corpus and a reserve.

    Parameters
    ----------
    params
        The rule, and the seed of its draws.
    corpus, reserve
        Rows in schema CORPUS; no reserve, no swaps.
    ratings, screen
        What is known of the rows of both: schemas RATINGS and SCREEN.

    Returns
    -------
    DataFrame
        Schema MIXTURE: kept rows in corpus order, then swapped-in rows in seeded order. No row twice,
        none that the screen refused. Where rows do not pair one to one, `replaces` is null for the rest.

    Raises
    ------
    DataError
        If a row has no rating.
    RequestError
        If a random control is not told whose size it copies.
    """
    pools = open_pools(corpus, corpus.clear() if reserve is None else reserve, ratings, screen)
    swaps = _decide(params, pools)
    left = [row for swap in swaps.values() for row in swap.leaving["example_id"]]
    kept = pools.corpus.filter(~pl.col("example_id").is_in(left)).select(
        *CORPUS, origin=pl.lit("kept"), replaces=pl.lit(None, dtype=pl.String()), reason=pl.lit("kept")
    )
    swapped = [_swapped_in(swap) for _, swap in sorted(swaps.items())]
    return pl.concat([kept, *swapped]).select(*MIXTURE).cast(pl.Schema(MIXTURE))


def _decide(params: MixParams, pools: Pools) -> dict[str, Swap]:
    match params.rule:
        case KeepAll():
            return {}
        case Flip() as rule:
            return flip(rule, pools, params.seed)
        case RandomSwap() as rule:
            if params.size_of is None:
                raise RequestError(
                    "a random swap was given no flip whose size to copy; name it in the mixture's `like`"
                )
            return random_swap(rule, params.size_of, pools, params.seed)


def _swapped_in(swap: Swap) -> pl.DataFrame:
    names: list[str | None] = swap.leaving["example_id"].to_list()[: swap.incoming.height]
    names += [None] * (swap.incoming.height - len(names))
    return swap.incoming.select(
        *CORPUS,
        origin=pl.lit("swapped_in"),
        replaces=pl.Series(names, dtype=pl.String()),
        reason=pl.lit(swap.reason),
    )
