"""The exam: answers judged, and the likelihood of reference answers."""

from functools import cache, partial

from infra_core.corpus.schema import ANSWERS, EVALUATION, LIKELIHOODS
from infra_core.evaluation.likelihood import reference_likelihoods
from infra_core.evaluation.summary import summarise
from infra_core.recipe import EvaluateParams, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import reread_table, write_table
from tasks._checkpoint import load_checkpoint
from tasks._pools import pool_rows
from tasks._questions import AskedRun, sampled_answers, task_questions
from tasks._stage import RunContext, stage


class ExamRun(AskedRun):
    """The recipe's exam, who judges each task, and the split from the queries."""

    exam: EvaluateParams

    @classmethod
    def of(cls, given: Recipe) -> "ExamRun":
        """Take from a recipe what the exam depends on."""
        return cls.asking(given, given.evaluate.tasks, exam=given.evaluate)


@stage(version=1)
def evaluate(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, benchmarks: Artifact, params: ExamRun
) -> None:
    """Write each task's answers and likelihoods, then their summary."""
    rows = pool_rows(ctx, benchmarks)
    answers, likelihoods = [], []
    loaded = cache(partial(load_checkpoint, ctx, checkpoint))  # not at all if every part is there
    for task in params.exam.tasks:
        asked = task_questions(rows, task, params.split, "exam", params.exam.questions)
        name = f"answers-{task}.parquet"
        if out.pending([name]):
            write_table(
                out,
                name,
                sampled_answers(*loaded(), asked, task, params.judges[task], params.exam),
                ANSWERS,
            )
        answers.append(reread_table(out, name, ANSWERS))
        if params.exam.likelihood:
            name = f"likelihoods-{task}.parquet"
            if out.pending([name]):
                found = reference_likelihoods(*loaded(), asked, batch_tokens=ctx.micro_batch_tokens)
                write_table(out, name, found, LIKELIHOODS)
            likelihoods.append(reread_table(out, name, LIKELIHOODS))
    summary = summarise(answers, likelihoods, seed=params.exam.seed)
    write_table(out, "summary.parquet", summary, EVALUATION)
