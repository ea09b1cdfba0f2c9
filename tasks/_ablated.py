"""Mixtures that lack a label, read: the rows to train on, what of them is masked, what that foretells."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from transformers import PreTrainedTokenizerBase

from infra_core.attributes.clusters import problem_of
from infra_core.attributes.token_class import token_classes
from infra_core.corpus.render import render, spans_of
from infra_core.corpus.schema import MIXTURE, SCORES, distinct
from infra_core.corpus.segment import Rule as Division
from infra_core.evaluation.statistics import Interval
from infra_core.lm.load import load_tokenizer
from infra_core.store.artifact import Artifact
from infra_core.store.tables import each_table, read_tables, table_names
from infra_core.validity.ablations import (
    CHANGES,
    CONTROL,
    MASKED,
    Ablations,
    Mask,
    among,
    apart,
    changes,
    foretold,
    masks,
    taken_away,
)
from tasks._checkpoint import model_folder
from tasks._pools import pool_rows
from tasks._stage import RunContext
from tasks.behaviours import behaved
from tasks.mix import MIXED

Masks = Mapping[str, pl.DataFrame]
"""Schema MASKS, of a label's mixture and of its control."""


def fitting_rows(ctx: RunContext, mixture: Artifact, max_tokens: int) -> pl.DataFrame:
    """Return the different rows of a mixture that are not too long, by their ids."""
    names = ("example_id", "prompt", "response", "group", "tokens", "weight", "masked")
    columns = {name: MIXTURE[name] for name in names}
    rows = distinct(read_tables(ctx.store, mixture, columns, MIXED, wider=True))
    return rows.filter(pl.col("tokens") <= max_tokens).sort("example_id")


def read_ablations(
    ctx: RunContext,
    ablated: Mapping[str, Any],
    outcomes: pl.DataFrame,
    asked: pl.DataFrame,
    max_tokens: int,
    division: Division,
    seed: int,
) -> Ablations:
    """Return what masking labels did, and what scores had foretold.

    Parameters
    ----------
    ctx
        Of the run.
    ablated
        `mixtures` by label, both of each; `scores` by token rule; the `tokenizer`; the `benchmarks`.
    outcomes
        Schema OUTCOMES.
    asked
        Schema QUERY: what outcomes are of.
    max_tokens
        Longer rows were not trained on.
    division
        Of responses into spans.
    seed
        Of the intervals.
    """
    tokenizer = load_tokenizer(model_folder(ctx, ablated["tokenizer"]))
    found: dict[str, Masks] = {}
    told = []
    rows = pl.DataFrame()
    for label, pair in ablated["mixtures"].items():
        known = {kind: fitting_rows(ctx, mixture, max_tokens) for kind, mixture in pair.items()}
        rows = known[MASKED].select("example_id", "group")  # those of the corpus, as of every mixture here
        masked = {kind: _masks(own, tokenizer) for kind, own in known.items()}
        sizes = {kind: int(own["at"].list.len().sum()) for kind, own in masked.items()}
        told.append(Mask(label, masked[MASKED].height, sizes[MASKED], sizes[CONTROL]))
        if sizes[MASKED]:
            found[label] = masked
    by_rule = {rule: _foretold(ctx, scores, found, rows, seed) for rule, scores in ablated["scores"].items()}
    by_label = {label: {rule: labels[label] for rule, labels in by_rule.items()} for label in found}
    has = _labels(ctx, ablated["benchmarks"], asked, tokenizer, division)
    having = {label: has.filter(pl.col("label") == label)["example_id"].to_list() for label in found}
    return Ablations(
        masks=told,
        found=taken_away(outcomes, by_label, seed),
        among=among(outcomes, having, seed),
        apart=apart(outcomes, list(found), seed),
    )


def _labels(
    ctx: RunContext,
    benchmarks: Artifact,
    asked: pl.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    division: Division,
) -> pl.DataFrame:
    """Return each `label` of spans or words that a query's response has; its id is in `example_id`."""
    answers = distinct(pool_rows(ctx, benchmarks, "example_id", "answer"))
    rows = (
        asked
        .select("query_id", "prompt", "response", example_id="question_id")
        .join(answers, on="example_id", how="left", maintain_order="left")
        .with_columns(example_id="query_id")
    )
    spans = behaved(rows, spans_of(rows, tokenizer, division)).select("example_id", label="behaviour")
    words = token_classes(rows, tokenizer).select("example_id", label="token_class")
    return pl.concat([spans, words]).unique()


def _masks(rows: pl.DataFrame, tokenizer: PreTrainedTokenizerBase) -> pl.DataFrame:
    edited = rows.filter(pl.col("masked").is_not_null())
    return masks(render(edited, tokenizer, spans=None))


def _foretold(
    ctx: RunContext, scores: Artifact, found: Mapping[str, Masks], rows: pl.DataFrame, seed: int
) -> dict[str, dict[str, Interval]]:
    """Return by label and group what scores foretell; these are read once, part by part."""
    columns = {name: SCORES[name] for name in ("example_id", "group", "tokens")}
    told = {label: [pl.DataFrame(schema=pl.Schema(CHANGES))] for label in found}
    for _, part in each_table(ctx.store, scores, columns, table_names(ctx.store, scores), wider=True):
        for label, masked in found.items():
            told[label].append(changes(masked[MASKED], masked[CONTROL], part))
    problems = problem_of(rows, rows)
    return {label: foretold(pl.concat(parts), problems, seed) for label, parts in told.items()}
