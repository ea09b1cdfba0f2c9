"""Questions and judged answers become the queries that influence is measured on."""

import polars as pl

from infra_core.corpus.schema import QUERY
from infra_core.errors import DataError
from infra_core.seeds import generator


def split_questions(questions: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split questions into a query part (`share` of them) and an exam part that have none in common.

    A question is its prompt: two rows that ask the same land on the same side. The split hangs on the
    questions and the seed, not on their order; within a part the order is kept.

    Raises
    ------
    DataError
        If one side would be empty although `share` is below 1.
    """
    prompts = questions["prompt"].unique().sort()
    chosen = round(share * len(prompts))
    if share < 1 and not 0 < chosen < len(prompts):
        raise DataError(
            f"{len(prompts)} questions cannot be split {share:.0%} to {1 - share:.0%}; "
            "change query_share or give the benchmark more questions"
        )
    queried = prompts[generator(seed, "split").permutation(len(prompts))[:chosen]]
    is_query = pl.col("prompt").is_in(queried.to_list())
    return questions.filter(is_query), questions.filter(~is_query)


def queries_from_answers(
    answers: pl.DataFrame, questions: pl.DataFrame, *, objective: str = "own_correct"
) -> pl.DataFrame:
    """Return the model's own answers as queries.

    Parameters
    ----------
    answers
        Schema ANSWERS, of one task or several.
    questions
        Schema CORPUS: the questions that were asked.
    objective
        Written into the rows.

    Returns
    -------
    DataFrame
        Schema QUERY. Right answers are in group ``"<domain>/correct"``; wrong ones are kept in
        ``"<domain>/incorrect"`` and are part of no f.

    Raises
    ------
    DataError
        If the model solved nothing of a domain: its f would be the mean of nothing.
    """
    _require_a_right_answer(answers)
    asked = questions.select(question_id="example_id", prompt="prompt").unique("question_id", keep="first")
    verdict = pl.when("correct").then(pl.lit("correct")).otherwise(pl.lit("incorrect"))
    return (
        answers
        .join(asked, on="question_id", how="left", maintain_order="left")
        .with_columns(
            query_id=pl.format("{}/{}/{}", "task", "question_id", "draw"),
            group=pl.format("{}/{}", "domain", verdict),
            objective=pl.lit(objective),
        )
        .select(*QUERY)
        .cast(pl.Schema(QUERY))
    )


def queries_from_references(questions: pl.DataFrame) -> pl.DataFrame:
    """Return reference answers as queries, in group ``"<domain>/reference"``; schema QUERY.

    Raises
    ------
    DataError
        If no question of a task has a reference response.
    """
    answered = questions.filter(pl.col("response").str.strip_chars() != "")
    for task in questions["source"].unique(maintain_order=True):
        if answered.filter(pl.col("source") == task).is_empty():
            raise DataError(
                f"task {task!r} has no reference response in {questions.height} questions; "
                "map its column to `response`, or ask for objective: own_correct"
            )
    return (
        answered
        .with_columns(
            query_id=pl.format("{}/{}/reference", "source", "example_id"),
            question_id="example_id",
            task="source",
            group=pl.format("{}/reference", "domain"),
            correct=pl.lit(True),
            verdict=pl.lit("reference"),
            draw=pl.lit(0),
            objective=pl.lit("reference"),
        )
        .select(*QUERY)
        .cast(pl.Schema(QUERY))
    )


def _require_a_right_answer(answers: pl.DataFrame) -> None:
    by_domain = answers.group_by("domain", maintain_order=True).agg(
        pl.col("correct").sum(), tasks=pl.col("task").unique().sort(), asked=pl.col("question_id").n_unique()
    )
    for domain, right, tasks, asked in by_domain.iter_rows():
        if right == 0:
            raise DataError(
                f"the model solved nothing of {domain}: task {', '.join(tasks)}, {asked} questions asked, "
                "0 right; train longer, draw more answers, or set queries.objective: reference"
            )
