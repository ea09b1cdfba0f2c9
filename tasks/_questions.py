"""Benchmark questions: which are asked as queries, which as exam, and how they are answered."""

from collections.abc import Iterable
from typing import Literal, Self

import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infra_core.errors import DataError
from infra_core.evaluation.answers import split_questions
from infra_core.evaluation.harness import Sampling, sample_answers
from infra_core.recipe import EvaluateParams, Judge, Params, QueryParams, Recipe
from infra_core.recipe.params import Fraction
from infra_core.seeds import derive_seed


class Split(Params):
    """Tasks that are both queried and examined, and the fraction of their questions that become queries."""

    tasks: tuple[str, ...]
    share: Fraction
    seed: int

    @classmethod
    def of(cls, given: Recipe) -> "Split | None":
        """Return the split of a recipe, or None where queries and exam use different benchmarks."""
        shared = given.reused_questions()
        if not shared or given.query_share is None:
            return None
        return cls(tasks=shared, share=given.query_share, seed=derive_seed(given.seed, "query split"))


class AskedRun(Params):
    """What asking questions depends on beside how they are asked: who judges, and who is asked as what."""

    judges: dict[str, Judge]
    split: Split | None = None

    @classmethod
    def asking(cls, given: Recipe, tasks: Iterable[str], **how: QueryParams | EvaluateParams) -> Self:
        """Take judges and split of `tasks` from a recipe; `how` is the subclass's own field."""
        judges = {task: given.benchmarks[task].judge for task in tasks}
        return cls.model_validate({"judges": judges, "split": Split.of(given), **how})


def task_questions(
    benchmarks: pl.DataFrame, task: str, split: Split | None, use: Literal["query", "exam"], limit: int | None
) -> pl.DataFrame:
    """Return the questions of `task` for one use; disjoint between uses unless the recipe says otherwise.

    Raises
    ------
    DataError
        If no question is left.
    """
    rows = benchmarks.filter(pl.col("source") == task)
    if split and task in split.tasks and split.share < 1:
        query, exam = split_questions(rows, split.share, split.seed)
        rows = query if use == "query" else exam
    if limit is not None:
        rows = rows.head(limit)
    if rows.is_empty():
        raise DataError(
            f"benchmark {task!r} has no question left as {use}; look at its dropped rows or raise query_share"
        )
    return rows


def sampled_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: pl.DataFrame,
    task: str,
    judge: Judge,
    params: EvaluateParams | QueryParams,
) -> pl.DataFrame:
    """Let the model answer `questions` as `params` say, and judge what it said."""
    sampling = Sampling(params.draws, params.temperature, params.max_new_tokens, params.seed)
    return sample_answers(model, tokenizer, questions, task=task, judge=judge, sampling=sampling)
