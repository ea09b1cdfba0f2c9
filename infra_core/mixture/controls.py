"""Controls: as much as a rule moves, decided by something else. Without them a rule proves nothing."""

from collections.abc import Callable, Mapping

import polars as pl

from infra_core.mixture.alike import alike
from infra_core.mixture.budget import explain_shortage, first, match_up, size
from infra_core.mixture.evidence import Evidence, given
from infra_core.mixture.orders import by_nearness, by_perplexity
from infra_core.mixture.pools import Pools, Swap, shuffled
from infra_core.mixture.select import Order
from infra_core.recipe import LengthMatched, Perplexity, Random, Rds

Redrawn = Random | LengthMatched | Perplexity | Rds
"""Controls that draw other rows. The rest apply the copied rule itself, in another way."""

Draw = Callable[[pl.DataFrame, str, str, pl.DataFrame], pl.DataFrame]
"""Given rows of a domain, its name, the side (``out`` or ``in``) and what the copied rule moves there, gives
the rows in the order in which they move."""


def called(rule: Redrawn) -> str:
    """Return what a control goes by, for the reason of its rows."""
    match rule:
        case Random():
            return "random"
        case LengthMatched():
            return "random, of equal length"
        case Perplexity():
            return f"{rule.keep} perplexity"
        case Rds():
            return "nearness to queries"


def order_of(rule: Random | Perplexity | Rds, evidence: Evidence, seed: int) -> Order:
    """Return what puts candidates of a domain in order, best first; what cannot be ordered is left out."""
    match rule:
        case Random():
            return lambda rows, domain: shuffled(rows, seed, "random", domain)
        case Perplexity():
            perplexity = given(evidence.perplexity, "perplexity")
            return lambda rows, domain: by_perplexity(rows, perplexity, rule.keep)
        case Rds():
            nearness = given(evidence.nearness, "nearness to queries")
            return lambda rows, domain: by_nearness(rows, nearness, evidence.query_domains, domain)


def redraw(
    rule: Redrawn, swaps: Mapping[str, Swap], pools: Pools, evidence: Evidence, seed: int, match: str
) -> dict[str, Swap]:
    """Return per domain a change as large as the given one, of other rows.

    As many rows or tokens leave; where rows came in, as many as leave come in.

    Parameters
    ----------
    rule
        What the control goes by.
    swaps
        What the copied rule does. Its size may hang on rows that it drew, so give both arms one seed.
    pools, evidence
        What there is, and what is known of it.
    seed
        Of what is drawn.
    match
        ``rows`` or ``tokens``.
    """
    draw = _drawing(rule, evidence, seed)
    found = {}
    for domain, model in sorted(swaps.items()):
        leaving = draw(pools.of("corpus", domain), domain, "out", model.leaving)
        wanted = first(leaving, size(model.leaving, match), match)
        reason = (
            f"{domain} swap, {called(rule)}" if model.incoming.height else f"{domain} pruned, {called(rule)}"
        )
        if model.incoming.is_empty():
            found[domain] = Swap(wanted, model.incoming, reason)
            continue
        incoming = draw(pools.of("reserve", domain), domain, "in", model.incoming)
        out, come = match_up(wanted, incoming, match)
        found[domain] = Swap(out, come, explain_shortage(domain, reason, wanted, out))
    return found


def _drawing(rule: Redrawn, evidence: Evidence, seed: int) -> Draw:
    match rule:
        case Random():
            return lambda rows, domain, side, _: shuffled(rows, seed, "random", domain, side)
        case LengthMatched():
            return lambda rows, domain, side, model: alike(
                model, shuffled(rows, seed, "length_matched", domain, side), ["length"]
            )
        case Perplexity() | Rds():
            order = order_of(rule, evidence, seed)

    def ordered(rows: pl.DataFrame, domain: str, side: str, _: pl.DataFrame) -> pl.DataFrame:
        pool = "corpus" if side == "out" else "reserve"
        best = order(rows.select(pl.lit(pool).alias("pool"), pl.all()), domain).drop("pool")
        return best.reverse() if side == "out" else best

    return ordered
