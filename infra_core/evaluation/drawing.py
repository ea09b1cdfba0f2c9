"""The model that lm_eval is given: it draws answers in parts, each of which a caller may remember."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from infra_core.corpus.schema import DRAWS
from infra_core.errors import DataError, RequestError
from infra_core.evaluation.definitions import DEFAULT_TASK, Definition
from infra_core.evaluation.generation import Backend
from infra_core.seeds import derive_seed

Remember = Callable[[str, Callable[[], pl.DataFrame]], pl.DataFrame]
"""Given a part's name and how to make it, returns it: made now, or as it was remembered."""

Progress = Callable[[int, int], None]

Share = tuple[int, int]
"""Of so many (second), which (first): parts are dealt out in turn, over all draws."""


class ShareDrawnError(Exception):
    """A share of the parts of a draw is drawn; there is nothing to make of it until the others are."""


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
    top_p
        Probability mass that is drawn from.
    asked_as
        Task definition; by default every prompt is one chat turn.
    """

    draws: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 256
    seed: int = 0
    top_p: float = 1.0
    asked_as: str = DEFAULT_TASK


@dataclass(frozen=True)
class Run:
    """What is the same for all draws of a call of `sample_answers`."""

    backend: Backend
    task: str
    how: Definition
    sampling: Sampling
    remember: Remember
    progress: Progress | None
    share: Share | None = None


def drawing(run: Run, draw: int) -> Any:
    """Return a model of lm_eval for one draw; `drawn` holds what it said, in the order of the requests."""
    from lm_eval.api.model import LM

    class Drawing(LM):
        drawn: list[dict[str, Any]]

        @property
        def tokenizer_name(self) -> str:
            return "ours"

        def chat_template(self, chat_template: bool | str = False) -> str | None:
            return None  # only for its cache of requests, which is not used

        def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
            return str(
                run.backend.tokenizer.apply_chat_template(
                    chat_history,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=not add_generation_prompt,
                )
            )

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            self.drawn = _in_parts(run, requests, draw)
            return [row["response"] for row in self.drawn]

        def loglikelihood(self, requests: Any, **_: Any) -> Any:
            raise RequestError(f"task definition {run.how.name!r} asks for likelihoods; only texts are drawn")

        loglikelihood_rolling = loglikelihood

    return Drawing()


def _in_parts(run: Run, requests: Sequence[Any], draw: int) -> list[dict[str, Any]]:
    """Return what was said to all requests, drawn part by part.

    Raises
    ------
    ShareDrawnError
        Instead, where only a share is drawn.
    """
    size = run.backend.at_once(_longest(run, requests))
    rows: list[dict[str, Any]] = []
    starts = range(0, len(requests), size)
    for part, start in enumerate(starts):
        if run.share is not None and (draw * len(starts) + part) % run.share[1] != run.share[0]:
            continue
        asked = requests[start : start + size]
        make = functools.partial(
            _drawn, run, asked, draw, derive_seed(run.sampling.seed, run.task, draw, part)
        )
        rows += run.remember(f"{draw:03d}-{part:05d}", make).iter_rows(named=True)
        if run.progress is not None:
            run.progress(draw * len(requests) + len(rows), run.sampling.draws * len(requests))
    if run.share is not None:
        raise ShareDrawnError
    return [
        {
            "draw": row["draw"],
            "response": row["response"],
            "response_tokens": row["tokens"],
            "truncated": not row["ended"],
        }
        for row in rows
    ]


def _drawn(run: Run, requests: Sequence[Any], draw: int, seed: int) -> pl.DataFrame:
    answers = run.backend.generate(requests, seed)
    return pl.DataFrame(
        [
            (request.doc["question_id"], draw, answer.text, answer.tokens, answer.ended)
            for request, answer in zip(requests, answers, strict=True)
        ],
        schema=pl.Schema(DRAWS),
        orient="row",
    )


def _longest(run: Run, requests: Sequence[Any]) -> int:
    """Return the positions of the longest prompt and its answer.

    Raises
    ------
    DataError
        If they do not fit.
    """
    longest, question = max(
        (
            len(run.backend.tokenizer.encode(request.args[0], add_special_tokens=False)),
            request.doc["question_id"],
        )
        for request in requests
    )
    room = run.sampling.max_new_tokens
    if longest + room > run.backend.context:
        raise DataError(
            f"task {run.task!r}: question {question} has {longest} prompt tokens and max_new_tokens is "
            f"{room}, but the model's context is {run.backend.context}; lower max_new_tokens or leave "
            "long questions out"
        )
    return longest + room


def generation_options(sampling: Sampling, backend: Backend) -> dict[str, Any]:
    """Return what lm_eval is to hand to the model beside a prompt."""
    said: dict[str, Any] = {
        "max_gen_toks": sampling.max_new_tokens,
        "do_sample": sampling.temperature > 0,
        "repetition_penalty": 1.0,  # what a model's own generation config would slip in
        **backend.options,
    }
    if sampling.temperature > 0:
        said |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return said
