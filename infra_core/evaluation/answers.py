"""Questions and judged answers become the queries that influence is measured on."""

import polars as pl

from infra_core.corpus.schema import PASS_RATES, QUERY
from infra_core.errors import DataError
from infra_core.seeds import generator

ASIDE = "incorrect"
"""What queries are called that are kept but part of no f."""


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


def queries_from_answers(answers: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    """Return the model's own answers as queries.

    Parameters
    ----------
    answers
        Schema ANSWERS, of one task or several.
    questions
        Schema CORPUS: the questions that were asked.

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
    verdict = pl.when("correct").then(pl.lit("correct")).otherwise(pl.lit(ASIDE))
    return _as_queries(answers, questions, verdict, "own_correct")


def queries_from_changes(
    answers: pl.DataFrame, before: pl.DataFrame, questions: pl.DataFrame
) -> pl.DataFrame:
    """Return what fine-tuning changed as queries: answers to questions gained, and to questions lost.

    The sets C and I of [1]_, and as there all answers are the fine-tuned model's. A model is right on a
    question where more than half of its draws are, wrong where fewer than half are; where exactly half are
    it is neither, and the question is in no group. With one draw that is the paper's definition.

    Parameters
    ----------
    answers
        Schema ANSWERS, of the fine-tuned model; one task or several.
    before
        Schema ANSWERS, of the base model on the same questions.
    questions
        Schema CORPUS: the questions that were asked.

    Returns
    -------
    DataFrame
        Schema QUERY. Group ``"<domain>/gained"``: the right answers to questions that went from wrong to
        right. Group ``"<domain>/lost"``: the wrong answers to questions that went from right to wrong; a
        domain that lost nothing has no such group. To raise its f is to make wrong answers likelier.

    Raises
    ------
    DataError
        If the models were asked different questions, or a domain gained no question.

    References
    ----------
    .. [1] Humane et al. 2025, "Influence Functions for Efficient Data Selection in Reasoning",
       arXiv:2510.06108.
    """
    asked = ["task", "question_id"]
    now, then = _shares_right(answers), _shares_right(before)
    change = now.join(then, on=asked, how="full", suffix="_before", coalesce=True, maintain_order="left")
    if change["right"].has_nulls() or change["right_before"].has_nulls():
        raise DataError(
            f"the model was asked {now.height} questions and the base {then.height}, not all the same; "
            "ask both the same ones"
        )
    change = change.with_columns(
        change=pl
        .when(pl.col("right") > 0.5, pl.col("right_before") < 0.5)
        .then(pl.lit("gained"))
        .when(pl.col("right") < 0.5, pl.col("right_before") > 0.5)
        .then(pl.lit("lost"))
    )
    _require_a_gain(change)
    changed = answers.join(change.select(*asked, "change"), on=asked, how="left", maintain_order="left")
    return _as_queries(
        changed.filter(
            pl.col("change") == pl.when("correct").then(pl.lit("gained")).otherwise(pl.lit("lost"))
        ),
        questions,
        pl.col("change"),
        "changed",
    )


def within_objectives(queries: pl.DataFrame) -> pl.DataFrame:
    """Return the queries that are part of some f: all but wrong answers that are only kept."""
    return queries.filter(~pl.col("group").str.ends_with(f"/{ASIDE}"))


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


def pass_rates(problems: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Return how often each problem was solved, for every row that asks it; schema PASS_RATES.

    Parameters
    ----------
    problems
        `example_id` and `prompt` of rows. Rows with one prompt are one problem.
    answers
        Schema ANSWERS; `question_id` is the `example_id` of one of the rows that ask the problem.
    """
    asked = answers.group_by("question_id").agg(pass_rate=pl.col("correct").mean(), draws=pl.len())
    solved = problems.join(asked, left_on="example_id", right_on="question_id", how="inner")
    known = problems.join(solved.drop("example_id"), on="prompt", how="inner", maintain_order="left")
    return known.select(*PASS_RATES).cast(pl.Schema(PASS_RATES))


def _as_queries(
    answers: pl.DataFrame, questions: pl.DataFrame, kind: pl.Expr, objective: str
) -> pl.DataFrame:
    """Return rows of ANSWERS as rows of QUERY, in group ``"<domain>/<kind>"``."""
    asked = questions.select(question_id="example_id", prompt="prompt").unique("question_id", keep="first")
    return (
        answers
        .join(asked, on="question_id", how="left", maintain_order="left")
        .with_columns(
            query_id=pl.format("{}/{}/{}", "task", "question_id", "draw"),
            group=pl.format("{}/{}", "domain", kind),
            objective=pl.lit(objective),
        )
        .select(*QUERY)
        .cast(pl.Schema(QUERY))
    )


def _shares_right(answers: pl.DataFrame) -> pl.DataFrame:
    return answers.group_by("domain", "task", "question_id", maintain_order=True).agg(
        right=pl.col("correct").mean()
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


def _require_a_gain(change: pl.DataFrame) -> None:
    by_domain = change.group_by("domain", maintain_order=True).agg(
        gained=(pl.col("change") == "gained").sum(),
        tasks=pl.col("task").unique().sort(),
        asked=pl.len(),
        **{name: (pl.col(name) > 0.5).sum() for name in ("right_before", "right")},
    )
    for row in by_domain.iter_rows(named=True):
        if row["gained"] == 0:
            raise DataError(
                f"fine-tuning gained no question of {row['domain']}: task {', '.join(row['tasks'])}, "
                f"{row['asked']} questions asked, {row['right_before']} right before and {row['right']} "
                "after; train longer, ask more questions, or set queries.objective: own_correct"
            )
