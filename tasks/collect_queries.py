"""The queries that influence is measured on: the model's own judged answers, or reference answers."""

import polars as pl

from infra_core.corpus.schema import ANSWERS, QUERY
from infra_core.evaluation.answers import queries_from_answers, queries_from_references
from infra_core.recipe import QueryParams, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import reread_table, write_table
from tasks._checkpoint import load_checkpoint
from tasks._pools import pool_rows
from tasks._questions import AskedRun, sampled_answers, task_questions
from tasks._stage import RunContext, stage


class QueryRun(AskedRun):
    """The recipe's queries, who judges each task, and the split from the exam."""

    query: QueryParams

    @classmethod
    def of(cls, given: Recipe) -> "QueryRun":
        """Take from a recipe what its queries depend on."""
        return cls.asking(given, given.queries.tasks, query=given.queries)


@stage(version=1)
def collect_queries(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, benchmarks: Artifact, params: QueryRun
) -> None:
    """Write `queries.parquet`; own answers also stay, right or wrong, with their verdicts."""
    rows = pool_rows(ctx, benchmarks)
    questions = {
        task: task_questions(rows, task, params.split, "query", params.query.questions)
        for task in params.query.tasks
    }
    asked = pl.concat(questions.values())
    if params.query.objective == "reference":
        queries = queries_from_references(asked)
    else:
        answers = _own_answers(ctx, out, checkpoint, questions, params)
        queries = queries_from_answers(answers, asked, objective=params.query.objective)
    write_table(out, "queries.parquet", queries, QUERY)


def _own_answers(
    ctx: RunContext, out: WorkDir, checkpoint: Artifact, questions: dict[str, pl.DataFrame], params: QueryRun
) -> pl.DataFrame:
    names = {task: f"answers-{task}.parquet" for task in questions}
    pending = out.pending(names.values())
    if pending:
        model, tokenizer = load_checkpoint(ctx, checkpoint)
    for task, asked in questions.items():
        if names[task] in pending:
            answers = sampled_answers(model, tokenizer, asked, task, params.judges[task], params.query)
            write_table(out, names[task], answers, ANSWERS)
    return pl.concat(reread_table(out, name, ANSWERS) for name in names.values())
