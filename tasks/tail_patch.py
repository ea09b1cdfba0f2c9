"""What one more optimiser step on the rows that a method puts first does to each query."""

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
    identities = {
        part: {**fixed, "scores": scored[part]["sha256"]} for part in map(score_part, params.methods)
    }
    waiting = list(out.pending(identities))
    if not waiting:
        return
    model, tokenizer = load_checkpoint(ctx, checkpoint)
    model.float()  # a step is too small for bf16
    rows = distinct(training_rows(ctx, corpus))
    examples = {example.example_id: example for example in render(rows, tokenizer, spans=None)}
    asked = asked_queries(ctx, queries)
    answers = query_examples(asked, tokenizer)
    with progress("methods patched", len(waiting)) as update:
        for done, part in enumerate(waiting, 1):
            table = read_table(ctx.store, scores, part, SCORE_TABLE)
            gains = patch(
                model,
                [examples[name] for name in table["example_id"]],
                answers,
                np.array(table["scores"].to_list(), dtype=float),
                rows=params.rows,
                learning_rate=params.learning_rate,
                batch_tokens=ctx.micro_batch_tokens,
            )
            told = asked.select("query_id", "group").with_columns(gain=pl.Series(gains, dtype=pl.Float64()))
            write_table(out, part, told.select(*PATCHED), PATCHED)
            update(done)
