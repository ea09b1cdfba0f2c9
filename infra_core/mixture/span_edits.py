"""Stretches of responses that leave the loss or the text: the most harmful, those of a label, random ones."""

import polars as pl

from infra_core.corpus.schema import RANGES, Schema
from infra_core.mixture.budget import first_fit, fit
from infra_core.mixture.pools import Pools, shuffled
from infra_core.recipe import Ablate, Spans

EDITS: Schema = {
    "example_id": pl.String(),
    "domain": pl.String(),
    "ranges": RANGES,  # characters of the response
    "tokens": pl.Int64(),  # in them
    "reason": pl.String(),
}


def edit_spans(rule: Spans, spans: pl.DataFrame, pools: Pools, what: str) -> pl.DataFrame:
    """Choose the spans with the least benefit a token, until a domain has given up its share; schema EDITS.

    Only spans that harm are taken, never the last of a response, and of code none is dropped.

    Parameters
    ----------
    rule
        Mask or drop, and which fraction of a domain's response tokens at most.
    spans
        As `evidence.span_benefits` gives them.
    pools
        What there is.
    what
        They are called, in the reason.
    """
    frames = []
    for domain in pools.domains:
        budget = round(rule.fraction * int(pools.of("corpus", domain)["scored_tokens"].sum()))
        harmful = (
            _eligible(rule, spans)
            .filter(pl.col("domain") == domain, pl.col("benefit") < 0)
            .sort(pl.col("benefit") / pl.col("tokens"), "example_id", "span")
        )
        frames.append(harmful[first_fit(harmful["tokens"].to_list(), budget)])
    return _edits(pl.concat(frames), rule, what)


def ablate(rule: Ablate, labelled: pl.DataFrame, pools: Pools) -> pl.DataFrame:
    """Choose all spans, or words, of the labels that a rule names, but those never taken; schema EDITS.

    Parameters
    ----------
    rule
        Mask or drop, and which labels.
    labelled
        Schema LABELLED, of corpus rows.
    pools
        Which rows count, and their domains.
    """
    chosen = _eligible(rule, _placed(labelled, pools)).filter(_named_by(rule))
    return _edits(chosen, rule, " and ".join(rule.labels))


def beside(rule: Ablate, labelled: pl.DataFrame, pools: Pools) -> pl.DataFrame:
    """Return the spans, or words, of other labels, which a control draws from."""
    return _placed(labelled, pools).filter(~_named_by(rule))


def _placed(labelled: pl.DataFrame, pools: Pools) -> pl.DataFrame:
    rows = pools.corpus.select("example_id", "domain")
    return labelled.join(rows, on="example_id", how="inner", maintain_order="left")


def _named_by(rule: Ablate) -> pl.Expr:
    return pl.col("label").is_in(list(rule.labels))


def redrawn(rule: Spans | Ablate, edits: pl.DataFrame, spans: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Choose as many tokens in spans of the same rows at random, as near as spans allow: the control."""
    shuffled_spans = (
        shuffled(
            _eligible(rule, spans).with_columns(row="example_id", example_id=_named()),
            seed,
            "random",
            "spans",
        )
        .with_columns(example_id="row")
        .drop("row")
    )
    budgets = dict(edits.select("example_id", "tokens").iter_rows())
    same_rows = shuffled_spans.filter(pl.col("example_id").is_in(list(budgets)))
    frames = [
        rows[fit(rows["tokens"].to_list(), budgets[str(example)])]
        for (example,), rows in same_rows.group_by("example_id", maintain_order=True)
    ]
    return _edits(pl.concat([same_rows.clear(), *frames]), rule, "random")


def _named() -> pl.Expr:
    return pl.format("{} {}", "example_id", pl.col("span").cast(pl.String()).str.zfill(6))


def _eligible(rule: Spans | Ablate, spans: pl.DataFrame) -> pl.DataFrame:
    may_go = ~pl.col("last") & (pl.col("tokens") > 0)
    if rule.action == "drop":
        may_go &= pl.col("kind") != "code"
    return spans.filter(may_go)


def _edits(spans: pl.DataFrame, rule: Spans | Ablate, what: str) -> pl.DataFrame:
    done = {"mask": "masked", "drop": "dropped"}[rule.action]
    what += " words" if isinstance(rule, Ablate) and rule.token_classes else " spans"
    return (
        spans
        .sort("example_id", "span")
        .group_by("example_id", "domain", maintain_order=True)
        .agg(ranges=pl.struct("start", "stop"), tokens=pl.col("tokens").cast(pl.Int64()).sum())
        .with_columns(reason=pl.format(f"{{}} {what} {done}", "domain"))
        .select(*EDITS)
        .cast(pl.Schema(EDITS))
    )
