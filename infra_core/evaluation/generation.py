"""Text out of a model, through lm-eval's own adapters: transformers by default, vLLM where it is installed.

lm_eval takes seconds to import, so that is done where it is used.
"""

import functools
import importlib.util
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from infra_core.errors import RequestError
from infra_core.lm.classes import PreTrainedModel

BATCH_TOKENS = 32_768
"""Positions of one batch, prompt and answer. Fixed, because draws hang on who shares a batch."""

VLLM_AT_ONCE = 64
"""Answers that vLLM is asked for at once: it fills its own batches, and what is asked is lost at a kill."""


@dataclass(frozen=True)
class Drawn:
    """An answer as it came: its text, its tokens (the end counted), and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


@dataclass(frozen=True)
class Backend:
    """What generates.

    Attributes
    ----------
    tokenizer
        Of the model.
    context
        Longest row, prompt and answer together.
    options
        What it is told of generation beside what is the same for all.
    at_once
        Given the longest prompt and answer in tokens, how many answers to ask for at once.
    generate
        Given requests of lm_eval and a seed, the answers.
    """

    tokenizer: PreTrainedTokenizerBase
    context: int
    options: dict[str, Any]
    at_once: Callable[[int], int]
    generate: Callable[[Sequence[Any], int], list[Drawn]]


def transformers_backend(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Backend:
    """Generate with a model in memory, through lm_eval's HFLM."""
    context = int(model.config.max_position_embeddings)
    ends = _end_tokens(model.generation_config.eos_token_id, tokenizer)
    recorder = _Recorder(model.eval(), (*ends, tokenizer.pad_token_id))

    @functools.cache
    def adapter() -> Any:
        from lm_eval.models.huggingface import HFLM

        return HFLM(
            pretrained=recorder,
            tokenizer=tokenizer,
            backend="causal",
            max_length=context,
            add_bos_token=False,  # the chat template has written whatever begins a prompt
            batch_size=BATCH_TOKENS,  # rows, more than are ever asked for at once: those are one batch
        )

    def generate(requests: Sequence[Any], seed: int) -> list[Drawn]:
        lm = adapter()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            texts = lm.generate_until(list(requests), disable_tqdm=True)
        prompts = [lm.tok_encode(request.args[0]) for request in requests]
        return [Drawn(text, *recorder.next_note(prompt)) for text, prompt in zip(texts, prompts, strict=True)]

    return Backend(
        tokenizer,
        context,
        {"eos_token_id": list(ends)},
        _rows_at_once,
        generate,
    )


def _rows_at_once(longest: int) -> int:
    return max(1, BATCH_TOKENS // longest)


def no_backend(folder: Path, tokenizer: PreTrainedTokenizerBase, kind: str) -> Backend:
    """Return what stands for a backend where every answer is drawn already; no weights are loaded."""
    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)

    def generate(requests: Sequence[Any], _seed: int) -> list[Drawn]:
        raise AssertionError(f"{len(requests)} answers are not drawn yet")

    at_once = _rows_at_once if kind == "hf" else lambda _longest: VLLM_AT_ONCE
    return Backend(tokenizer, int(config.max_position_embeddings), {}, at_once, generate)


def vllm_backend(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Backend:
    """Generate with vLLM, through lm_eval's adapter; written after its interface and tried on no GPU yet.

    Raises
    ------
    RequestError
        If vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise RequestError(
            "evaluate.backend is vllm, which is not installed here; pip install vllm, or use hf"
        )
    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)

    @functools.cache
    def adapter() -> Any:  # made at the first request: it takes the whole GPU
        from lm_eval.models.vllm_causallms import VLLM

        return VLLM(pretrained=str(folder), dtype="auto", add_bos_token=False, batch_size="auto")

    def generate(requests: Sequence[Any], seed: int) -> list[Drawn]:
        for request in requests:
            request.args[1]["seed"] = seed
        texts = adapter().generate_until(list(requests), disable_tqdm=True)
        limits = [request.args[1]["max_gen_toks"] for request in requests]
        # It hands back text alone; what fills its limit was cut.
        counts = [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
        return [
            Drawn(text, min(count + 1, limit), count < limit - 1)
            for text, count, limit in zip(texts, counts, limits, strict=True)
        ]

    ends = {"stop_token_ids": list(_end_tokens(config.eos_token_id, tokenizer))}
    return Backend(
        tokenizer, int(config.max_position_embeddings), ends, lambda _longest: VLLM_AT_ONCE, generate
    )


def _end_tokens(named: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return every token that ends an answer: the tokenizer's, and those of the model's config."""
    listed = named if isinstance(named, list) else [named]
    return tuple(sorted({token for token in (*listed, tokenizer.eos_token_id) if token is not None}))


class _Recorder:
    """A model that notes the tokens it generates; lm_eval hands back text only."""

    def __init__(self, model: Any, ends: Sequence[int | None]) -> None:
        self._model = model
        # Behind a text that ends an answer comes padding.
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
