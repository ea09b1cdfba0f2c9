"""Influence of every training example, span and token on every query group."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from transformers import PreTrainedTokenizerBase

from infra_core.corpus import TokenizedExample
from infra_core.corpus.render import render
from infra_core.corpus.schema import CORPUS, SCORES
from infra_core.influence import (
    Compressed,
    ScoreParams,
    agreement,
    score_examples,
)
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, table_names, write_table
from tasks._asked import asked_queries, query_examples
from tasks._checkpoint import load_checkpoint
from tasks._factors import context_length
from tasks._progress import progress
from tasks._queries import ready_queries
from tasks._shares import share_out
from tasks._stage import RunContext, stage

logger = logging.getLogger(__name__)

COMPRESSION = "compression.json"
SAMPLE = 64  # examples that compressed queries are compared with exact ones on
AGREES = 0.99  # Spearman

TOO_LONG = "longer than the model's context"


@stage(version=1)
def score(
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    corpus: Artifact,
    factors: Artifact,
    queries: Artifact,
    params: ScoreParams,
) -> None:
    """Score part by part; a part whose text, model, factors and queries are known is not scored again."""
    fixed = {"checkpoint": checkpoint.key, "factors": factors.key, "queries": queries.key, "params": params}
    digests = {name: part["sha256"] for name, part in ctx.store.manifest(corpus).parts.items()}
    parts = table_names(ctx.store, corpus)
    identities = {
        target: {**fixed, "text": digests[name], "scored": scored}
        for name in parts
        for target, scored in ((name, True), (_unscored(name), False))
    }
    pending = set(out.pending(identities))
    wanted = [name for name in parts if pending & {name, _unscored(name)}]
    if wanted:
        share_out(
            ctx, out, score_parts, wanted, Scoring(checkpoint, corpus, factors, queries, params, wanted[0])
        )


@dataclass(frozen=True)
class Scoring:
    """What scoring needs; on the part `first`, compressed queries are compared with exact ones."""

    checkpoint: Artifact
    corpus: Artifact
    factors: Artifact
    queries: Artifact
    params: ScoreParams
    first: str


def score_parts(ctx: RunContext, out: WorkDir, names: Sequence[str], given: Scoring) -> None:
    """Score some parts of a corpus."""
    params = given.params
    fitted = ctx.store.manifest(given.factors).params
    model, tokenizer = load_checkpoint(ctx, given.checkpoint, fitted["modules"])
    groups = {
        group: query_examples(rows, tokenizer)
        for (group,), rows in asked_queries(ctx, given.queries).group_by("group", maintain_order=True)
    }
    with ready_queries(ctx, model, given.factors, groups, params) as target:
        for name in names:
            if not out.pending([name, _unscored(name)]):  # written by an attempt before
                continue
            rows = read_table(ctx.store, given.corpus, name, CORPUS)
            examples, unscored = _scorable(rows, tokenizer, params, context_length(model))
            if isinstance(target, Compressed) and name == given.first and COMPRESSION not in out.parts():
                sample, batch_tokens = examples[:SAMPLE], ctx.micro_batch_tokens
                _write_compression(
                    out, target, agreement(model, target, sample, params, batch_tokens=batch_tokens)
                )
            with progress(f"score {name}, tokens", sum(map(len, examples))) as update:
                scores = score_examples(
                    model, target, examples, params, batch_tokens=ctx.micro_batch_tokens, progress=update
                )
            write_table(out, name, scores, SCORES)
            with out.open(_unscored(name)) as file:
                file.write("".join(json.dumps(row) + "\n" for row in unscored).encode())


def _scorable(
    rows: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, params: ScoreParams, context: int
) -> tuple[list[TokenizedExample], list[dict[str, object]]]:
    """Return the rows that fit the model's context, and why the others have no score."""
    examples: list[TokenizedExample] = []
    unscored: list[dict[str, object]] = []
    for example in render(rows, tokenizer, spans=params.spans):
        if len(example) <= context:
            examples.append(example)
        else:
            unscored.append({
                "example_id": example.example_id,
                "tokens": len(example),
                "reason": TOO_LONG,
            })
    return examples, unscored


def _write_compression(out: WorkDir, queries: Compressed, found: pl.DataFrame) -> None:
    """Say what compressing the queries lost: energy by block, and agreement with exact scores on a sample."""
    rows = found.to_dicts()
    with out.open(COMPRESSION) as file:
        file.write(json.dumps({"energy": queries.energy, "agreement": rows}, indent=2).encode())
    worst = min((row["spearman"] or 0.0 for row in rows), default=0.0)
    out.notes["compression"] = f"least energy {min(queries.energy.values()):.4f}, least Spearman {worst:.4f}"
    if not worst >= AGREES:
        logger.warning(
            "compressed queries rank examples at a Spearman of %.4f with exact ones; raise scores.energy",
            worst,
        )


def _unscored(name: str) -> str:
    """Return where rows without a score are listed; no table, so that all tables are scores."""
    return name.replace(".parquet", ".unscored.jsonl")
