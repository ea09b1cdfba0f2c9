"""The queries that influence is measured on: the model's own judged answers, or reference answers."""

import polars as pl

from infra_core.corpus.schema import QUERY
from infra_core.errors import RequestError
from infra_core.evaluation.answers import (
    queries_from_answers,
    queries_from_changes,
    queries_from_references,
)
from infra_core.recipe import QueryParams, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._asked import QUERIES
from tasks._pools import pool_rows
from tasks._questions import Answering, AskedRun, Asking, draw_shares, task_questions
from tasks._shares import share_out
from tasks._stage import RunContext, stage


class QueryRun(AskedRun):
    """The recipe's queries, who judges each task, and the split from the exam."""

    query: QueryParams

    @classmethod
    def of(cls, given: Recipe) -> "QueryRun":
        """Take from a recipe what its queries depend on."""
        return cls.asking(given, given.queries.tasks, query=given.queries)


@stage(version=2)
def collect_queries(
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    benchmarks: Artifact,
    base: Artifact | None = None,
    params: QueryRun,
) -> None:
    """Write `queries.parquet`; own answers also stay, right or wrong, with their verdicts.

    Objective `changed` needs `base`, the model before fine-tuning: it is asked the same questions in the same
    way, and its answers stay as well.

    Raises
    ------
    RequestError
        If the objective and whether there is a base do not go together.
    """
    if (params.query.objective == "changed") != (base is not None):
        raise RequestError(
            f"queries.objective is {params.query.objective}, with {'no' if base is None else 'a'} base; "
            "give collect_queries the model before fine-tuning for `changed`, and for nothing else"
        )
    rows = pool_rows(ctx, benchmarks)
    questions = {
        task: task_questions(rows, task, params.split, "query", params.query.questions)
        for task in params.query.tasks
    }
    asked = pl.concat(questions.values())
    if params.query.objective == "reference":
        queries = queries_from_references(asked)
    else:
        answers = _own_answers(Answering(ctx, out, checkpoint), questions, params)
        if base is None:
            queries = queries_from_answers(answers, asked)
        else:
            before = _own_answers(Answering(ctx, out, base, prefix="base-answers"), questions, params)
            queries = queries_from_changes(answers, before, asked)
    write_table(out, QUERIES, queries, QUERY)


def _own_answers(answering: Answering, questions: dict[str, pl.DataFrame], params: QueryRun) -> pl.DataFrame:
    given = Asking(answering.checkpoint, answering.prefix, questions, params, params.query)
    share_out(answering.ctx, answering.out, draw_shares, answering.shares(questions), given)
    return pl.concat(
        answering.answers(asked, task, params, params.query) for task, asked in questions.items()
    )
