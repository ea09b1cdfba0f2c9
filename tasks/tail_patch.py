"""What one more optimiser step on the rows that a method puts first does to each query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from infra_core.corpus.render import render
from infra_core.corpus.schema import distinct
from infra_core.recipe import Params, Recipe, ValidityParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, write_table
from infra_core.validity.judging import SCORE_TABLE
from infra_core.validity.tail_patch import PATCHED
from infra_core.validity.tail_patch import tail_patch as patch
from tasks._asked import asked_queries, query_examples
from tasks._checkpoint import load_checkpoint
from tasks._progress import progress
from tasks._shares import share_out
from tasks._stage import RunContext, stage
from tasks.rivals import score_part
from tasks.train import training_rows

STEP = 0.1
"""Of the recipe's learning rate: Adam's first step moves every weight by all of it."""


class PatchRun(Params):
    """Which methods are asked, for how many rows, and how large the step on them is."""

    methods: tuple[str, ...]
    rows: int
    learning_rate: float

    @classmethod
    def of(cls, given: Recipe, asked: ValidityParams, rows: int) -> "PatchRun":
        """Take a recipe's methods and learning rate."""
        return cls(methods=asked.names, rows=rows, learning_rate=STEP * given.train.learning_rate)


@dataclass(frozen=True)
class Patching:
    """What every method's patches need."""

    checkpoint: Artifact
    corpus: Artifact
    queries: Artifact
    scores: Artifact
    params: PatchRun


@stage(version=1)
def tail_patch(
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    corpus: Artifact,
    queries: Artifact,
    scores: Artifact,
    params: PatchRun,
) -> None:
    """Write a table of gains a method; what its scores chose before is adopted."""
    scored = ctx.store.manifest(scores).parts
    fixed = {
        "checkpoint": checkpoint.key, "corpus": corpus.key, "queries": queries.key,
        "rows": params.rows, "learning_rate": params.learning_rate,
    }  # fmt: skip
    parts = {score_part(method): method for method in params.methods}
    identities = {part: {**fixed, "scores": scored[part]["sha256"]} for part in parts}
    waiting = [parts[part] for part in out.pending(identities)]
    share_out(ctx, out, patch_methods, waiting, Patching(checkpoint, corpus, queries, scores, params))


def patch_methods(ctx: RunContext, out: WorkDir, methods: Sequence[str], given: Patching) -> None:
    """Take the steps that some methods ask for, one method after the other."""
    model, tokenizer = load_checkpoint(ctx, given.checkpoint)
    model.float()  # a step is too small for bf16
    rows = distinct(training_rows(ctx, given.corpus))
    examples = {example.example_id: example for example in render(rows, tokenizer, spans=None)}
    asked = asked_queries(ctx, given.queries)
    answers = query_examples(asked, tokenizer)
    with progress("methods patched", len(methods)) as update:
        for done, method in enumerate(methods, 1):
            table = read_table(ctx.store, given.scores, score_part(method), SCORE_TABLE)
            gains = patch(
                model,
                [examples[name] for name in table["example_id"]],
                answers,
                np.array(table["scores"].to_list(), dtype=float),
                rows=given.params.rows,
                learning_rate=given.params.learning_rate,
                batch_tokens=ctx.micro_batch_tokens,
            )
            told = asked.select("query_id", "group").with_columns(gain=pl.Series(gains, dtype=pl.Float64()))
            write_table(out, score_part(method), told.select(*PATCHED), PATCHED)
            update(done)
