"""The exam: answers judged, and the likelihood of reference answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.schema import EVALUATION, LIKELIHOODS
from infra_core.evaluation.drawing import Share
from infra_core.evaluation.likelihood import reference_likelihoods
from infra_core.evaluation.summary import summarise
from infra_core.recipe import EvaluateParams, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import reread_table, write_table
from tasks._pools import pool_rows
from tasks._questions import Answering, AskedRun, task_questions
from tasks._shares import is_shared, share_out
from tasks._stage import RunContext, stage


class ExamRun(AskedRun):
    """The recipe's exam, who judges each task, and the split from the queries."""

    exam: EvaluateParams

    @classmethod
    def of(cls, given: Recipe) -> "ExamRun":
        """Take from a recipe what the exam depends on."""
        return cls.asking(given, given.evaluate.tasks, exam=given.evaluate)


@stage(version=2)
def evaluate(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, benchmarks: Artifact, params: ExamRun
) -> None:
    """Write each task's answers and likelihoods, then their summary."""
    rows, exam = pool_rows(ctx, benchmarks), params.exam
    asked = {task: task_questions(rows, task, params.split, "exam", exam.questions) for task in exam.tasks}
    answering, wanted = Answering(ctx, out, checkpoint), [task for task in exam.tasks if exam.likelihood]
    if is_shared(ctx):
        pending = [(task, None) for task in wanted if out.pending([_likelihood_part(task)])]
        jobs = [*pending, *answering.shares(asked)]
        share_out(ctx, out, examine_shares, jobs, Examining(checkpoint, asked, params))
    likelihoods = [_likelihoods(answering, task, asked[task]) for task in wanted]
    if exam.backend != "hf":
        answering = Answering(ctx, out, checkpoint)  # what generates elsewhere needs the memory
    answers = [answering.answers(asked[task], task, params, exam) for task in exam.tasks]
    summary = summarise(answers, likelihoods, seed=exam.seed, pass_at=exam.pass_at)
    write_table(out, "summary.parquet", summary, EVALUATION)


@dataclass(frozen=True)
class Examining:
    """What a share of an exam needs."""

    checkpoint: Artifact
    asked: Mapping[str, pl.DataFrame]
    params: ExamRun


def examine_shares(
    ctx: RunContext, out: WorkDir, jobs: Sequence[tuple[str, Share | None]], given: Examining
) -> None:
    """Write likelihoods of tasks without a share, and draw the shares of others."""
    answering, exam = Answering(ctx, out, given.checkpoint), given.params.exam
    for task in [task for task, share in jobs if share is None]:
        _likelihoods(answering, task, given.asked[task])
    if exam.backend != "hf":
        answering = Answering(ctx, out, given.checkpoint)  # as above
    for task, share in jobs:
        if share is not None:
            answering.draw(given.asked[task], task, given.params, exam, share)


def _likelihoods(answering: Answering, task: str, asked: pl.DataFrame) -> pl.DataFrame:
    name = _likelihood_part(task)
    if answering.out.pending([name]):
        batch_tokens = answering.ctx.micro_batch_tokens
        found = reference_likelihoods(*answering.model, asked, batch_tokens=batch_tokens)
        write_table(answering.out, name, found, LIKELIHOODS)
    return reread_table(answering.out, name, LIKELIHOODS)


def _likelihood_part(task: str) -> str:
    return f"likelihoods-{task}.parquet"
