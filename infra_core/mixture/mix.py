"""`mix`: a rule, a corpus and a reserve become a mixture, which is a corpus with a few more columns."""

import polars as pl

from infra_core.errors import RequestError
from infra_core.mixture import span_edits, weigh
from infra_core.mixture.controls import Redrawn, called, order_of, redraw
from infra_core.mixture.decision import Decision, assemble, carry_out
from infra_core.mixture.evidence import NOTHING, Evidence, benefits, given, span_benefits, total_benefit
from infra_core.mixture.flip import directions_of, flip, reversed_directions
from infra_core.mixture.orders import by_benefit
from infra_core.mixture.pools import Pools, open_pools
from infra_core.mixture.prune import prune
from infra_core.mixture.select import select
from infra_core.recipe import (
    Ablate,
    AnyControl,
    Flip,
    Identity,
    KeepAll,
    MixParams,
    Only,
    Perplexity,
    Prune,
    Random,
    Rds,
    Reverse,
    Rule,
    Select,
    Spans,
    Weigh,
)


def mix(
    params: MixParams,
    corpus: pl.DataFrame,
    reserve: pl.DataFrame | None,
    ratings: pl.DataFrame,
    screen: pl.DataFrame,
    evidence: Evidence = NOTHING,
) -> pl.DataFrame:
    """Return the mixture that a rule makes of a corpus and a reserve, with all its texts in memory.

    Parameters
    ----------
    params
        The rule, what it copies, and the seed of its draws.
    corpus, reserve
        Rows in schema CORPUS; no reserve, nothing comes in.
    ratings, screen
        What is known of the rows of both: schemas RATINGS and SCREEN.
    evidence
        What else the rule decides by.

    Returns
    -------
    DataFrame
        Schema MIXTURE: kept rows in corpus order, then swapped-in rows in the order of the reserve. No row
        twice, none that the screen refused.

    Raises
    ------
    DataError
        If a row has no rating, or the rule lacks what it decides by.
    RequestError
        If a control is not told whose size it copies.
    """
    spare = corpus.clear() if reserve is None else reserve
    pools = open_pools(corpus, spare, ratings, screen, params.families)
    coming, _ = carry_out(decide(params, pools, evidence), pools)
    return pl.concat(
        assemble(
            texts.with_row_index("place").cast({"place": pl.Int64()}), coming.filter(pl.col("pool") == pool)
        )
        for pool, texts in (("corpus", corpus), ("reserve", spare))
    )


def decide(params: MixParams, pools: Pools, evidence: Evidence = NOTHING) -> Decision:
    """Return what a rule decides, without looking at a text.

    Raises
    ------
    DataError
        If the rule lacks what it decides by.
    RequestError
        If a control is not told whose size it copies.
    """
    match params.rule:
        case KeepAll():
            return Decision()
        case Flip() | Prune() | Select() | Weigh() | Spans() | Ablate() as rule:
            return _apply(rule, pools, evidence, params.seed)
        case control:
            if params.like is None:
                raise RequestError(
                    f"a control of kind {control.kind} was given no rule whose size to copy; name it in the "
                    "mixture's `like`"
                )
            return _control(control, params.like, pools, evidence, params.seed)


def _apply(rule: Rule, pools: Pools, evidence: Evidence, seed: int, *, sign: int = 1) -> Decision:
    """Apply a rule; with sign −1 turned round, so that what is helpful is taken for harmful."""
    if isinstance(rule, Flip):
        measured = (
            given(evidence.directions, "measured directions") if rule.directions == "measured" else None
        )
        directions = directions_of(rule, measured)
        return Decision(flip(rule, directions if sign > 0 else reversed_directions(directions), pools, seed))
    if isinstance(rule, Weigh) and rule.by == "directions":
        bands = {
            domain: (down, up) if sign > 0 else (up, down) for domain, (down, up) in rule.directions.items()
        }
        return Decision(weights=weigh.by_band(bands, pools, rule.strength))
    if isinstance(rule, Ablate):
        return _as_edits(rule, span_edits.ablate(rule, given(evidence.labelled, "what spans do"), pools))
    influence = given(evidence.influence, "influence").with_columns(pl.col("influence") * sign)
    if isinstance(rule, Spans):
        spans = given(evidence.spans, "spans").with_columns(pl.col("influence") * sign)
        known = span_benefits(spans, influence, pools, rule.toward)
        return _as_edits(
            rule, span_edits.edit_spans(rule, known, pools, "harmful" if sign > 0 else "helpful")
        )
    benefit = benefits(influence, pools, rule.toward)
    match rule:
        case Prune():
            return Decision(prune(rule, benefit, pools))
        case Select():
            return Decision(
                select(rule, lambda rows, _: by_benefit(rows, benefit, rule.spread), pools, "influence")
            )
        case Weigh():
            return Decision(weights=weigh.by_benefit(total_benefit(benefit), pools, rule.strength))


def _as_edits(rule: Spans | Ablate, edits: pl.DataFrame) -> Decision:
    return Decision(masked=edits) if rule.action == "mask" else Decision(cut=edits)


def _control(control: AnyControl, like: Rule, pools: Pools, evidence: Evidence, seed: int) -> Decision:
    match control:
        case Reverse():
            return _apply(like, pools, evidence, seed, sign=-1)
        case Only():
            return _apply(like, pools, evidence, seed).within(control.domains)
        case Identity():  # the influence that it was given is of another curvature
            return _apply(like, pools, evidence, seed)
        case Random() | Perplexity() | Rds() if isinstance(like, Select):
            return Decision(select(like, order_of(control, evidence, seed), pools, called(control)))
        case _:
            return _redrawn(control, like, _apply(like, pools, evidence, seed), pools, evidence, seed)


def _redrawn(
    control: Redrawn, like: Rule, model: Decision, pools: Pools, evidence: Evidence, seed: int
) -> Decision:
    match like:
        case Weigh():
            return Decision(weights=weigh.redrawn(model.weights, pools, seed))
        case Ablate():
            others = span_edits.beside(like, given(evidence.labelled, "what spans do"), pools)
            edits = model.masked if like.action == "mask" else model.cut
            return _as_edits(like, span_edits.redrawn(like, edits, others, seed))
        case Spans():
            spans, influence = given(evidence.spans, "spans"), given(evidence.influence, "influence")
            known = span_benefits(spans, influence, pools, like.toward)
            edits = model.masked if like.action == "mask" else model.cut
            return _as_edits(like, span_edits.redrawn(like, edits, known, seed))
        case _:
            match = control.match or (like.match if isinstance(like, Flip) else "tokens")
            return Decision(redraw(control, model.swaps, pools, evidence, seed, match))
