"""Questions → judged answers, through lm-evaluation-harness. The only importer of lm_eval.

lm_eval takes seconds to import and logs a lot, so it is imported where it is used and kept quiet.
"""

import contextlib
import importlib.metadata
import io
import json
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import torch
import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infra_core.corpus.render import PLAIN_TEMPLATE, prompt_ids
from infra_core.corpus.schema import ANSWERS
from infra_core.errors import DataError, RequestError
from infra_core.verify.judge import Candidate, JudgeKind, judge_answers

TASKS = Path(__file__).parent / "tasks"
DEFAULT_TASK = "questions"

# Positions of one batch, prompt and answer. Fixed, because draws hang on who shares a batch.
BATCH_TOKENS = 32_768

# Draws come from torch's global generator and progress bars write to stderr: one sampling at a time.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes
    ----------
    draws
        Answers a question.
    temperature
        0 is greedy.
    max_new_tokens
        An answer that does not end within so many tokens is cut and marked `truncated`.
    seed
        Of all draws of a call.
    """

    draws: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 256
    seed: int = 0


@dataclass(frozen=True)
class _Drawn:
    text: str
    tokens: int
    ended: bool


class _Recorder:
    """A model that notes the tokens it generates; lm_eval hands back text only."""

    def __init__(self, model: Any, ends: Sequence[int]) -> None:
        self._model = model
        self._ends = frozenset(ends)
        self._notes: dict[tuple[int, ...], deque[tuple[int, bool]]] = defaultdict(deque)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **options: Any) -> torch.Tensor:
        """Generate as the model does, and note length and ending of every row under its prompt."""
        output = self._model.generate(input_ids=input_ids, attention_mask=attention_mask, **options)
        for prompt, mask, answer in zip(
            input_ids, attention_mask, output[:, input_ids.shape[1] :].tolist(), strict=True
        ):
            end = next((place for place, token in enumerate(answer) if token in self._ends), None)
            note = (len(answer), False) if end is None else (end + 1, True)
            self._notes[tuple(prompt[mask.bool()].tolist())].append(note)
        return output

    def next_note(self, prompt: Sequence[int]) -> tuple[int, bool]:
        """Return tokens (the end counted) and whether it ended, of the next answer to `prompt`."""
        return self._notes[tuple(prompt)].popleft()


def harness_version() -> str:
    """Return the version of lm_eval, without importing it."""
    return importlib.metadata.version("lm_eval")


def sample_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: pl.DataFrame,
    *,
    task: str,
    judge: JudgeKind,
    sampling: Sampling,
) -> pl.DataFrame:
    """Draw answers to questions and judge them.

    Parameters
    ----------
    model, tokenizer
        A causal model and its tokenizer; prompts are rendered as for training.
    questions
        Schema CORPUS; `answer` and `tests` are what an answer is judged by.
    task
        Name of the benchmark. A file `tasks/<task>.yaml` beside this module, if there is one, says how it
        is asked; else every prompt is one chat turn.
    judge
        How an answer is judged: ``"math"``, ``"code"`` or ``"exact"``.
    sampling
        How answers are drawn. The same questions and seed give the same answers.

    Returns
    -------
    DataFrame
        Schema ANSWERS, in the order of the questions, then of the draws.

    Raises
    ------
    DataError
        If there are no questions, or one does not fit the model's context.
    RequestError
        If several greedy draws are asked for: they would be the same.
    """
    if questions.is_empty():
        raise DataError(f"task {task!r} has no questions; look at the benchmark's dropped rows")
    if sampling.temperature == 0 and sampling.draws > 1:
        raise RequestError(
            f"{sampling.draws} draws at temperature 0 are one answer {sampling.draws} times over; "
            "set draws: 1 or a temperature"
        )
    questions = questions.rename({"example_id": "question_id"})
    drawn, version = _generate(model, tokenizer, questions, task, sampling)
    rows = [
        {
            **{column: question[column] for column in ("question_id", "domain", "difficulty")},
            "task": task,
            "task_version": version,
            "draw": draw,
            "response": answer.text,
            "response_tokens": answer.tokens,
            "truncated": not answer.ended,
        }
        for question, answers in zip(questions.iter_rows(named=True), drawn, strict=True)
        for draw, answer in enumerate(answers)
    ]
    verdicts = judge_answers(
        judge,
        [
            Candidate(response=answer.text, answer=question["answer"], tests=question["tests"])
            for question, answers in zip(questions.iter_rows(named=True), drawn, strict=True)
            for answer in answers
        ],
    )
    for row, verdict in zip(rows, verdicts, strict=True):
        row.update(correct=verdict.correct, verdict=verdict.why)
    return pl.DataFrame(rows, schema=pl.Schema(ANSWERS))


def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: pl.DataFrame,
    task: str,
    sampling: Sampling,
) -> tuple[list[list[_Drawn]], str]:
    """Return the draws of every question, and the version of the task."""
    context = model.config.max_position_embeddings
    rows = _rows_a_batch(tokenizer, questions, task, sampling, context)
    ends = _end_tokens(model, tokenizer)
    recorder = _Recorder(model.eval(), ends)
    with _ONE_AT_A_TIME, _quiet(), TemporaryDirectory() as folder, torch.random.fork_rng():
        # `evaluate`, not `simple_evaluate`: the latter asks the network for the model's revision and the
        # shell for the machine's, seconds a call.
        from lm_eval.evaluator import evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        is_chat = tokenizer.chat_template is not None
        if not is_chat:
            questions = questions.with_columns(
                prompt=pl.Series([PLAIN_TEMPLATE.format(prompt=prompt) for prompt in questions["prompt"]])
            )
        _write_task(Path(folder), questions, task, sampling, ends)
        loaded = TaskManager(include_path=folder, include_defaults=False).load([task])
        lm = HFLM(
            pretrained=recorder,
            tokenizer=tokenizer,
            backend="causal",
            max_length=context,
            add_bos_token=False,  # the chat template has written whatever begins a prompt
            batch_size=rows,
        )
        torch.manual_seed(sampling.seed)
        results = evaluate(lm, loaded, apply_chat_template=is_chat, log_samples=True, bootstrap_iters=0)
        answers = []
        for sample in sorted(results["samples"][task], key=lambda sample: sample["doc_id"]):
            prompt = lm.tok_encode(sample["arguments"][0][0])
            answers.append([_Drawn(text, *recorder.next_note(prompt)) for text in sample["resps"][0]])
    return answers, str(results["versions"][task])


def _rows_a_batch(
    tokenizer: PreTrainedTokenizerBase, questions: pl.DataFrame, task: str, sampling: Sampling, context: int
) -> int:
    longest, question = max(
        (len(prompt_ids(prompt, tokenizer)), name)
        for prompt, name in questions.select("prompt", "question_id").iter_rows()
    )
    if longest + sampling.max_new_tokens > context:
        raise DataError(
            f"task {task!r}: question {question} has {longest} prompt tokens and max_new_tokens is "
            f"{sampling.max_new_tokens}, but the model's context is {context}; lower max_new_tokens or leave "
            "long questions out"
        )
    return max(1, BATCH_TOKENS // (longest + sampling.max_new_tokens))


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return every token that ends an answer: the tokenizer's, and those of the model's generation config."""
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return sorted({token for token in (*listed, tokenizer.eos_token_id) if token is not None})


def _write_task(
    folder: Path, questions: pl.DataFrame, task: str, sampling: Sampling, ends: Sequence[int]
) -> None:
    """Write the questions and a task file that asks them."""
    data = folder / "questions.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for row in questions.select("question_id", "prompt").iter_rows(named=True):
            file.write(json.dumps(row) + "\n")
    ours = TASKS / f"{task}.yaml"
    generation: dict[str, Any] = {
        "until": [],
        "max_gen_toks": sampling.max_new_tokens,
        "do_sample": sampling.temperature > 0,
        "eos_token_id": list(ends),
        "repetition_penalty": 1.0,  # what a model's own generation config would slip in
    }
    if sampling.temperature > 0:
        generation |= {"temperature": sampling.temperature, "top_p": 1.0, "top_k": 0}
    overrides = {
        "include": str(ours if ours.is_file() else TASKS / f"{DEFAULT_TASK}.yaml"),
        "task": task,
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "repeats": sampling.draws,
        "generation_kwargs": generation,
    }
    (folder / f"{task}.yaml").write_text(yaml.safe_dump(overrides), encoding="utf-8")


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
