"""Influence of every training example, span and token on every query group."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.schema import CORPUS, SCORES
from infra_core.influence import (
    Compressed,
    ScoreParams,
    agreement,
    score_examples,
)
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, write_table
from tasks._asked import query_groups
from tasks._factors import fitted_as, load_fitted
from tasks._in_context import in_context, pending_texts, unscored_part, write_unscored
from tasks._progress import progress
from tasks._queries import ready_queries
from tasks._row_local import of_texts
from tasks._shares import share_out
from tasks._stage import RunContext, stage

logger = logging.getLogger(__name__)

COMPRESSION = "compression.json"
SAMPLE = 64  # examples that compressed queries are compared with exact ones on
AGREES = 0.99  # Spearman


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
    texts = of_texts(
        ctx, corpus, checkpoint=checkpoint.key, factors=factors.key, queries=queries.key, params=params
    )
    wanted = pending_texts(out, texts)
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
    model, tokenizer = load_fitted(ctx, given.checkpoint, fitted_as(ctx, given.factors))
    groups = query_groups(ctx, given.queries, tokenizer)
    with ready_queries(ctx, model, given.factors, groups, params) as target:
        for name in names:
            if not out.pending([name, unscored_part(name)]):  # written by an attempt before
                continue
            rows = read_table(ctx.store, given.corpus, name, CORPUS)
            examples, unscored = in_context(rows, tokenizer, params.spans, model)
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
            write_unscored(out, name, unscored)


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
