"""What a mixture rule decides by, read from the artifacts that hold it, without texts."""

from collections.abc import Mapping

import polars as pl

from infra_core.attributes.directions import measured_directions
from infra_core.attributes.word_spans import word_spans
from infra_core.corpus.render import spans_of
from infra_core.corpus.schema import (
    BEHAVED,
    CORPUS,
    LIKELIHOODS,
    NEARNESS,
    SCORES,
    TOKENED,
    distinct,
)
from infra_core.corpus.segment import Rule as Division
from infra_core.errors import RequestError
from infra_core.lm.load import load_tokenizer
from infra_core.mixture import Evidence, Pools, benefits, total_benefit
from infra_core.mixture.evidence import INFLUENCE, LABELLED, SPAN_INFLUENCE
from infra_core.recipe import Flip, MixParams, Rule, Spans
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_table, read_tables, table_names
from tasks._asked import asked_queries
from tasks._checkpoint import model_folder
from tasks._stage import RunContext

Known = Mapping[str, Artifact]
"""Kind of evidence, as `MixParams.evidence` names it → the artifact that holds it."""


def read_evidence(
    ctx: RunContext, params: MixParams, known: Known, pools: Pools, corpus: Artifact
) -> Evidence:
    """Return what the rule of `params` decides by, out of the artifacts that it asked for."""
    kind = "identity" if "identity" in known else "scores"
    influence = _influence(ctx, known, kind)
    rule = params.copied
    return Evidence(
        influence=influence,
        directions=_directions(rule, influence, pools, params.seed),
        perplexity=_perplexity(ctx, known),
        nearness=_nearness(ctx, known),
        query_domains=_query_domains(ctx, known),
        spans=_spans(ctx, params.spans, known, kind, corpus) if isinstance(rule, Spans) else None,
        labelled=_labelled(ctx, params, known, corpus),
    )


def _of_both(
    ctx: RunContext, known: Known, kind: str, columns: Mapping[str, pl.DataType]
) -> pl.DataFrame | None:
    """Read what is known of corpus and reserve under one name, and say which of them it is of."""
    frames = [
        read_tables(ctx.store, known[name], columns, wider=True).with_columns(pool=pl.lit(pool))
        for pool, name in (("corpus", kind), ("reserve", f"reserve_{kind}"))
        if name in known
    ]
    return pl.concat(frames) if frames else None


def _influence(ctx: RunContext, known: Known, kind: str) -> pl.DataFrame | None:
    columns = {name: SCORES[name] for name in ("example_id", "group", "influence")}
    found = _of_both(ctx, known, kind, columns)
    if found is None:
        return None
    # Rows of equal content are scored once each; they are one row here.
    once = found.unique(["pool", "example_id", "group"], keep="first", maintain_order=True)
    return once.select(*INFLUENCE).cast(pl.Schema(INFLUENCE))


def _directions(
    rule: Rule | None, influence: pl.DataFrame | None, pools: Pools, seed: int
) -> pl.DataFrame | None:
    if influence is None or not isinstance(rule, Flip):
        return None
    benefit = total_benefit(benefits(influence, pools, rule.toward or "own"))
    rows = pools.corpus.rename({"scored_tokens": "response_tokens"})
    return measured_directions(
        benefit.filter(pl.col("pool") == "corpus"),
        rows,
        rows.select("example_id", group="problem"),
        match=rule.match,
        seed=derive_seed(seed, "directions"),
    )


def _perplexity(ctx: RunContext, known: Known) -> pl.DataFrame | None:
    columns = {name: LIKELIHOODS[name] for name in ("question_id", "domain", "nll", "scored_tokens")}
    found = _of_both(ctx, known, "perplexity", columns)
    if found is None:
        return None
    return found.select(
        "pool", "domain", example_id="question_id", nll_per_token=pl.col("nll") / pl.col("scored_tokens")
    ).unique(["pool", "example_id"], keep="first", maintain_order=True)


def _nearness(ctx: RunContext, known: Known) -> pl.DataFrame | None:
    found = _of_both(ctx, known, "nearness", NEARNESS)
    if found is None:
        return None
    once = found.unique(["pool", "example_id"], keep="first", maintain_order=True)
    return once.with_columns(pl.col("cosines").list.to_array(len(once["cosines"][0])))


def _query_domains(ctx: RunContext, known: Known) -> tuple[str, ...]:
    if "queries" not in known:
        return ()
    asked = asked_queries(ctx, known["queries"])
    return tuple(asked["group"].str.split("/").list.first())


def _labelled(ctx: RunContext, params: MixParams, known: Known, corpus: Artifact) -> pl.DataFrame | None:
    """Read what spans do, or of which class words are, whichever was asked for."""
    if "behaviours" in known:
        found = read_tables(ctx.store, known["behaviours"], BEHAVED).rename({"behaviour": "label"})
    elif "token_classes" in known:
        tokenizer = load_tokenizer(model_folder(ctx, known["tokenizer"]))
        frames = [pl.DataFrame(schema=pl.Schema(LABELLED))]
        for name in table_names(ctx.store, corpus):
            rows = distinct(read_table(ctx.store, corpus, name, CORPUS))
            words = read_table(ctx.store, known["token_classes"], name, TOKENED)
            own = word_spans(rows, words, tokenizer, _required(params.spans))
            frames.append(own.rename({"token_class": "label"}).select(*LABELLED))
        found = pl.concat(frames)
    else:
        return None
    return found.select(*LABELLED).unique(["example_id", "span"], keep="first", maintain_order=True)


def _required(division: Division | None) -> Division:
    """Return how responses were divided.

    Raises
    ------
    RequestError
        If they were scored whole.
    """
    if division is None:
        raise RequestError("this rule edits spans, and responses were scored whole; give scores.spans")
    return division


def _spans(
    ctx: RunContext, division: Division | None, known: Known, kind: str, corpus: Artifact
) -> pl.DataFrame:
    """Read the influence of spans."""
    return span_influence(ctx, _required(division), known["tokenizer"], known[kind], corpus)


def span_influence(
    ctx: RunContext, division: Division, model: Artifact, scored: Artifact, corpus: Artifact
) -> pl.DataFrame:
    """Lay influence beside the characters of each span, part by part: schema SPAN_INFLUENCE.

    `model` is a checkpoint whose tokenizer they were scored with.
    """
    tokenizer = load_tokenizer(model_folder(ctx, model))
    columns = {name: SCORES[name] for name in ("example_id", "group", "spans")}
    frames = [pl.DataFrame(schema=pl.Schema(SPAN_INFLUENCE))]
    for name in table_names(ctx.store, corpus):
        spans = spans_of(distinct(read_table(ctx.store, corpus, name, CORPUS)), tokenizer, division)
        scores = read_tables(ctx.store, scored, columns, name, wider=True)
        influence = (
            scores
            .unique(["example_id", "group"], keep="first", maintain_order=True)
            .with_columns(span=pl.int_ranges(0, pl.col("spans").list.len(), dtype=pl.Int32()))
            .explode("spans", "span")
            .rename({"spans": "influence"})
        )
        both = spans.join(influence, on=["example_id", "span"], how="inner", maintain_order="left_right")
        frames.append(both.select(*SPAN_INFLUENCE).cast(pl.Schema(SPAN_INFLUENCE)))
    return pl.concat(frames).unique(["example_id", "group", "span"], keep="first", maintain_order=True)
