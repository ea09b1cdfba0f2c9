"""Questions → judged answers, through lm-evaluation-harness: its templates, filters and metrics, our judges.

Answers are drawn in parts that a caller may remember, so that sampling that died goes on where it was.
lm_eval takes seconds to import and logs a lot, so it is imported where it is used and kept quiet.
"""

import contextlib
import importlib.metadata
import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from infra_core.corpus.render import PLAIN_TEMPLATE
from infra_core.corpus.schema import ANSWERS
from infra_core.errors import DataError, RequestError
from infra_core.evaluation.definitions import DEFAULT_TASK, definition, write_task
from infra_core.evaluation.drawing import (
    Progress,
    Remember,
    Run,
    Sampling,
    Share,
    ShareDrawnError,
    drawing,
    generation_options,
)
from infra_core.evaluation.generation import Backend
from infra_core.verify.judge import Candidate, JudgeKind, judge_answers
from infra_core.verify.response import opened_thought

# Progress bars write to stderr and loggers are global: one sampling at a time.
_ONE_AT_A_TIME = threading.Lock()


def harness_version() -> str:
    """Return the version of lm_eval, without importing it."""
    return importlib.metadata.version("lm_eval")


def _forget(_name: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    return make()


def sample_answers(
    backend: Backend,
    questions: pl.DataFrame,
    *,
    task: str,
    judge: JudgeKind,
    sampling: Sampling,
    remember: Remember = _forget,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Draw answers to questions and judge them.

    Parameters
    ----------
    backend
        What generates. The chat template of its tokenizer is used if there is one.
    questions
        Schema CORPUS; `answer` and `tests` are what an answer is judged by.
    task
        Name of the benchmark.
    judge
        How an answer is judged: ``"math"``, ``"code"``, ``"choice"`` or ``"exact"``.
    sampling
        How answers are drawn. The same questions and seed give the same answers.
    remember
        Keeps parts of schema DRAWS under a name that is theirs within this call.
    progress
        Called with (answers drawn, answers in all) after each part.

    Returns
    -------
    DataFrame
        Schema ANSWERS, in the order of the questions, then of the draws.

    Raises
    ------
    DataError
        If there are no questions, or one does not fit the model's context.
    RequestError
        If several greedy draws are asked for, which would be the same, or there is no such definition.
    """
    if questions.is_empty():
        raise DataError(f"task {task!r} has no questions; look at the benchmark's dropped rows")
    if sampling.temperature == 0 and sampling.draws > 1:
        raise RequestError(
            f"{sampling.draws} draws at temperature 0 are one answer {sampling.draws} times over; "
            "set draws: 1 or a temperature"
        )
    how = definition(sampling.asked_as)
    questions = questions.rename({"example_id": "question_id"})
    run = Run(backend, task, how, sampling, remember, progress)
    drawn = [_draw(run, questions, draw) for draw in range(sampling.draws)]
    said = [
        (question, answers[number])
        for number, question in enumerate(questions.iter_rows(named=True))
        for answers in drawn
    ]
    verdicts = judge_answers(
        judge,
        [
            Candidate(answer["begun"] + answer["response"], question["answer"], question["tests"])
            for question, answer in said
        ],
    )
    version = how.version if how.name == DEFAULT_TASK else f"{how.name} {how.version}"
    told = {"task": task, "task_version": version}
    rows = [
        {**question, **answer, **told, "correct": verdict.correct, "verdict": verdict.why}
        for (question, answer), verdict in zip(said, verdicts, strict=True)
    ]
    return pl.DataFrame([{name: row[name] for name in ANSWERS} for row in rows], schema=pl.Schema(ANSWERS))


def draw_share(
    backend: Backend,
    questions: pl.DataFrame,
    share: Share,
    *,
    task: str,
    sampling: Sampling,
    remember: Remember,
) -> None:
    """Draw a share of the parts that `sample_answers` draws with the same arguments, and judge nothing.

    When all shares are remembered, `sample_answers` finds every answer drawn.
    """
    questions = questions.rename({"example_id": "question_id"})
    run = Run(backend, task, definition(sampling.asked_as), sampling, remember, None, share)
    for draw in range(sampling.draws):
        with contextlib.suppress(ShareDrawnError):
            _draw(run, questions, draw)


def _draw(run: Run, questions: pl.DataFrame, draw: int) -> list[dict[str, Any]]:
    """Return one answer a question, with what lm_eval's own metrics say of it, and how it was begun."""
    with _ONE_AT_A_TIME, _quiet(), TemporaryDirectory() as folder:
        # `evaluate`, not `simple_evaluate`: the latter asks the network for the model's revision and the
        # shell for the machine's, seconds a call.
        from lm_eval.evaluator import evaluate
        from lm_eval.tasks import TaskManager

        is_chat = run.backend.tokenizer.chat_template is not None
        if not is_chat and run.how.name == DEFAULT_TASK:
            questions = questions.with_columns(
                prompt=pl.Series([PLAIN_TEMPLATE.format(prompt=prompt) for prompt in questions["prompt"]])
            )
        write_task(Path(folder), run.task, run.how, questions, generation_options(run.sampling, run.backend))
        loaded = TaskManager(include_path=folder, include_defaults=False).load([run.task])
        asked = loaded["tasks"][run.task]
        lm = drawing(run, draw)
        results = evaluate(lm, loaded, apply_chat_template=is_chat, log_samples=True, bootstrap_iters=0)
        found: dict[int, dict[str, Any]] = {}
        for sample in results["samples"][run.task]:
            answer = found.setdefault(
                sample["doc_id"],
                {
                    **lm.drawn[sample["doc_id"]],
                    "begun": opened_thought(sample["arguments"][0][0])
                    + (asked.doc_to_prefix(sample["doc"]) or ""),
                    "harness": [],
                },
            )
            answer["harness"] += [
                {"metric": f"{metric},{sample['filter']}", "value": float(sample[metric])}
                for metric in sample["metrics"]
                if metric != "bypass"
            ]
    return [found[number] for number in range(len(questions))]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and the chatter of lm_eval and what it calls off the terminal."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
