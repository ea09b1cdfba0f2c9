"""Benchmark questions: which are asked as queries, which as exam, and how they are answered."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, Self

import polars as pl
from transformers import PreTrainedTokenizerBase

from infra_core.corpus.schema import ANSWERS, DRAWS
from infra_core.errors import DataError
from infra_core.evaluation.answers import split_questions
from infra_core.evaluation.definitions import DEFAULT_TASK, definition
from infra_core.evaluation.drawing import Share
from infra_core.evaluation.generation import Backend, no_backend, transformers_backend, vllm_backend
from infra_core.evaluation.harness import Sampling, draw_share, sample_answers
from infra_core.lm.classes import PreTrainedModel
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import AskParams, DrawParams, Judge, Params, Recipe
from infra_core.recipe.params import Fraction
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import reread_table, write_table
from tasks._checkpoint import load_checkpoint, model_folder
from tasks._progress import progress
from tasks._shares import is_shared
from tasks._stage import RunContext


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


class AskedAs(Params):
    """The task definition that a benchmark's questions are put by."""

    definition: str
    version: str


class AskedRun(Params):
    """What asking questions depends on beside sampling: who judges, in which words, who is asked as what."""

    judges: dict[str, Judge]
    asked: dict[str, AskedAs]
    split: Split | None = None

    @classmethod
    def asking(cls, given: Recipe, tasks: Iterable[str], **how: AskParams) -> Self:
        """Take judges, definitions and split of `tasks` from a recipe; `how` is the subclass's own field.

        Raises
        ------
        RequestError
            If there is no task definition of a benchmark's `task`.
        """
        benchmarks = {task: given.benchmarks[task] for task in tasks}
        judges = {task: benchmark.judge for task, benchmark in benchmarks.items()}
        asked = {task: _asked_as(benchmark.task or DEFAULT_TASK) for task, benchmark in benchmarks.items()}
        return cls.model_validate({"judges": judges, "asked": asked, "split": Split.of(given), **how})


def _asked_as(name: str) -> AskedAs:
    return AskedAs(definition=name, version=definition(name).version)


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


class Answering:
    """A checkpoint that answers questions; loaded when it first has to, and remembering what it said.

    Parameters
    ----------
    out
        Where answers go: a part a task, and on the way a part for every few draws.
    prefix
        Of the parts' names.
    """

    def __init__(self, ctx: RunContext, out: WorkDir, checkpoint: Artifact, prefix: str = "answers") -> None:
        self.ctx, self.out, self.checkpoint, self.prefix = ctx, out, checkpoint, prefix

    @cached_property
    def model(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The checkpoint in memory."""
        return load_checkpoint(self.ctx, self.checkpoint)

    def answers(self, questions: pl.DataFrame, task: str, run: AskedRun, how: AskParams) -> pl.DataFrame:
        """Return answers of schema ANSWERS, drawn as `how` says and judged as `run` says."""
        name = self._part(task)
        if self.out.pending([name]):
            with progress(f"{self.prefix} {task}") as update:
                answers = sample_answers(
                    self.backend(how),
                    questions,
                    task=task,
                    judge=run.judges[task],
                    sampling=_sampling(run, task, how),
                    remember=partial(self.remember, task),
                    progress=update,
                )
            write_table(self.out, name, answers, ANSWERS)
        return reread_table(self.out, name, ANSWERS)

    def draw(self, questions: pl.DataFrame, task: str, run: AskedRun, how: AskParams, share: Share) -> None:
        """Draw a share of what `answers` draws, which when all shares are there only judges."""
        draw_share(
            self.backend(how),
            questions,
            share,
            task=task,
            sampling=_sampling(run, task, how),
            remember=partial(self.remember, task),
        )

    def shares(self, tasks: Iterable[str]) -> list[tuple[str, Share]]:
        """Return what workers have to `draw` before `answers` can judge; nothing if there are no workers."""
        pending = [task for task in tasks if self.out.pending([self._part(task)])]
        count = self.ctx.workers
        if not is_shared(self.ctx):
            return []
        return [(task, (number, count)) for task in pending for number in range(count)]

    def backend(self, how: DrawParams) -> Backend:
        """What generates."""
        if is_shared(self.ctx):  # every answer was drawn by the workers
            folder = model_folder(self.ctx, self.checkpoint)
            return no_backend(folder, load_tokenizer(folder), how.backend)
        if how.backend == "vllm":
            folder = model_folder(self.ctx, self.checkpoint)
            return vllm_backend(folder, load_tokenizer(folder))
        return transformers_backend(*self.model)

    def _part(self, task: str) -> str:
        return f"{self.prefix}-{task}.parquet"

    def remember(self, task: str, part: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """Return a part of the draws of a task: as it was drawn before, or made now."""
        name = f"draws-{self.prefix}-{task}/{part}.parquet"
        if self.out.pending([name]):
            write_table(self.out, name, make(), DRAWS)
        return reread_table(self.out, name, DRAWS)


@dataclass(frozen=True)
class Asking:
    """What drawing of shares needs: who is asked what, and how."""

    checkpoint: Artifact
    prefix: str
    questions: Mapping[str, pl.DataFrame]
    run: AskedRun
    how: AskParams


def draw_shares(ctx: RunContext, out: WorkDir, shares: Sequence[tuple[str, Share]], given: Asking) -> None:
    """Draw some shares, each of a task."""
    answering = Answering(ctx, out, given.checkpoint, given.prefix)
    for task, share in shares:
        answering.draw(given.questions[task], task, given.run, given.how, share)


def _sampling(run: AskedRun, task: str, how: AskParams) -> Sampling:
    asked_as = run.asked[task].definition
    return Sampling(how.draws, how.temperature, how.max_new_tokens, how.seed, how.top_p, asked_as)
