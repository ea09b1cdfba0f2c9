"""How often the model solves the problems of a pool by itself: what difficulty by pass rate is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import polars as pl

from infra_core.corpus.render import token_counter
from infra_core.corpus.schema import ANSWERS, CORPUS, PASS_RATES
from infra_core.evaluation.answers import pass_rates
from infra_core.evaluation.harness import Sampling, sample_answers
from infra_core.recipe import AttemptParams, Judge, Params, Recipe
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, write_table
from tasks._factors import context_length
from tasks._progress import progress
from tasks._questions import Answering
from tasks._row_local import of_texts
from tasks._shares import share_out
from tasks._stage import RunContext, stage

TASK, ANSWERED = "attempts", "answers-"


class AttemptRun(Params):
    """How problems are tried, and who judges the answers."""

    attempts: AttemptParams
    judges: dict[str, Judge]  # by source; else by tests where there are some, and as mathematics
    only_unlabelled: bool  # rows with a label of difficulty are not tried
    seed: int

    @classmethod
    def of(cls, given: Recipe, attempts: AttemptParams) -> "AttemptRun":
        """Take from a recipe what trying its problems depends on."""
        return cls(
            attempts=attempts,
            judges={name: benchmark.judge for name, benchmark in given.benchmarks.items()},
            only_unlabelled=given.difficulty.method == "label",
            seed=derive_seed(given.seed, TASK),
        )


@stage(version=1)
def attempt(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, corpus: Artifact, params: AttemptRun
) -> None:
    """Write part by part the pass rate of every problem that an answer can be judged of, and the answers.

    A problem that rows of one part share is tried once.
    """
    fixed: dict[str, object] = {"checkpoint": checkpoint.key, "params": params}
    rated = of_texts(ctx, corpus, "", **fixed)
    answered = of_texts(ctx, corpus, ANSWERED, answers=True, **fixed)
    pending = set(out.pending(rated | answered))
    wanted = [name for name in rated if not pending.isdisjoint({name, ANSWERED + name})]
    share_out(ctx, out, attempt_parts, wanted, Attempts(checkpoint, corpus, params))


@dataclass(frozen=True)
class Attempts:
    """What trying the problems of a pool needs."""

    checkpoint: Artifact
    corpus: Artifact
    params: AttemptRun


def attempt_parts(ctx: RunContext, out: WorkDir, names: Sequence[str], given: Attempts) -> None:
    """Try the problems of some parts of a pool."""
    params = given.params
    answering = Answering(ctx, out, given.checkpoint, TASK)
    for name in names:
        rows = read_table(ctx.store, given.corpus, name, CORPUS)
        answers = _answers(answering, _problems(rows, params, answering), params, name)
        write_table(out, ANSWERED + name, answers, ANSWERS)
        write_table(out, name, pass_rates(rows.select("example_id", "prompt"), answers), PASS_RATES)


def _problems(rows: pl.DataFrame, params: AttemptRun, answering: Answering) -> pl.DataFrame:
    """Return one row for each problem that is to be tried and fits the model, with its `judge`."""
    by_source = pl.col("source").replace_strict(params.judges, default=None, return_dtype=pl.String())
    by_row = pl.when(pl.col("tests").is_not_null()).then(pl.lit("code")).otherwise(pl.lit("math"))
    wanted = (pl.col("tests").is_not_null() | pl.col("answer").is_not_null()) & (
        pl.col("difficulty").is_null() if params.only_unlabelled else True
    )
    problems = rows.filter(wanted).unique("prompt", keep="first", maintain_order=True)
    if problems.is_empty():
        return problems.with_columns(judge=by_row)
    model, tokenizer = answering.model
    room = context_length(model) - params.attempts.max_new_tokens
    fits = [prompt <= room for prompt, _ in token_counter(tokenizer)(problems)]
    return problems.filter(pl.Series(fits)).with_columns(judge=pl.coalesce(by_source, by_row))


def _answers(answering: Answering, problems: pl.DataFrame, params: AttemptRun, name: str) -> pl.DataFrame:
    how = params.attempts
    sampling = Sampling(how.draws, how.temperature, how.max_new_tokens, params.seed, how.top_p)
    found = [pl.DataFrame(schema=pl.Schema(ANSWERS))]
    for (judge,), asked in problems.group_by("judge", maintain_order=True):
        under = f"{judge}-{name.removesuffix('.parquet')}"
        with progress(f"{TASK} {under}") as update:
            answers = sample_answers(
                answering.backend(how),
                asked.drop("judge"),
                task=TASK,  # of which seeds are made: the same text is answered alike in whatever part
                judge=cast(Judge, judge),
                sampling=sampling,
                remember=partial(answering.remember, under),
                progress=update,
            )
        found.append(answers)
    return pl.concat(found)
