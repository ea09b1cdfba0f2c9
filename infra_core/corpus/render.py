"""Rows → `TokenizedExample`: chat template, tokens, spans. Only here text becomes ids."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import cast

import polars as pl
import torch
from transformers import PreTrainedTokenizerBase

from infra_core.corpus.example import Span, TokenizedExample
from infra_core.corpus.segment import CharSpan, Rule, segment
from infra_core.errors import DataError

ROWS_AT_ONCE = 256
PLAIN_TEMPLATE = "{prompt}\n"  # of tokenizers that have no chat template


def render(
    frame: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, *, spans: Rule | None
) -> Iterator[TokenizedExample]:
    """Yield the rows of a frame as the model sees them, in order.

    The prompt is a user turn of the tokenizer's chat template, opened for the assistant (without a
    template: the prompt and a newline). The response is tokenised on its own, so that no token straddles
    the two, and ends in the end-of-text token, which is scored too.

    Parameters
    ----------
    frame
        Rows with `example_id`, `prompt` and `response`.
    tokenizer
        Of the model.
    spans
        How the response is divided; None leaves it whole. Span 0 is the prompt.

    Raises
    ------
    DataError
        If the tokenizer has no end-of-text token, or cannot say which characters a token covers.
    """
    if tokenizer.eos_token_id is None:
        raise DataError(f"tokenizer {tokenizer.name_or_path!r} has no end-of-text token; set eos_token")
    if spans is not None and not tokenizer.is_fast:
        raise DataError(
            f"tokenizer {tokenizer.name_or_path!r} gives no character offsets; take its fast version"
        )
    for rows in frame.select("example_id", "prompt", "response").iter_slices(ROWS_AT_ONCE):
        prompts = _prompt_ids(rows["prompt"].to_list(), tokenizer)
        responses = rows["response"].to_list()
        encoded = tokenizer(
            responses, add_special_tokens=False, return_offsets_mapping=spans is not None, verbose=False
        )
        offsets = encoded["offset_mapping"] if spans is not None else [None] * len(responses)
        for row in zip(rows["example_id"], prompts, responses, encoded["input_ids"], offsets, strict=True):
            yield _example(*row, tokenizer.eos_token_id, spans)


def prompt_ids(prompt: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of a question as `render` puts it before a response."""
    return _prompt_ids([prompt], tokenizer)[0]


def token_counter(
    tokenizer: PreTrainedTokenizerBase,
) -> Callable[[pl.DataFrame], Iterator[tuple[int, int]]]:
    """Return a function giving per row the tokens of prompt and scored response (none if it is empty)."""

    def lengths(texts: list[str]) -> list[int]:
        if not tokenizer.is_fast:
            return [
                len(ids) for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            ]
        # Several times faster than the call, which makes lists of what is only counted.
        return list(map(len, tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)))

    def count(frame: pl.DataFrame) -> Iterator[tuple[int, int]]:
        for rows in frame.select("prompt", "response").iter_slices(ROWS_AT_ONCE):
            begin, texts = _prompt_texts(rows["prompt"].to_list(), tokenizer)
            asked, said = lengths(texts), lengths(rows["response"].to_list())
            for prompt, response, text in zip(asked, said, rows["response"], strict=True):
                yield len(begin) + prompt, response + 1 if text else 0

    return count


def token_spans(
    characters: Sequence[CharSpan], offsets: Sequence[tuple[int, int]]
) -> list[tuple[int, int, str]]:
    """Turn spans of characters into spans of tokens: a token belongs to the span its first character is in.

    Spans that hold no token's first character vanish; the others tile 0..len(offsets).

    Examples
    --------
    >>> token_spans([(0, 4, "text"), (4, 6, "code")], [(0, 2), (2, 5), (5, 6)])
    [(0, 2, 'text'), (2, 3, 'code')]
    """
    starts: list[tuple[int, str]] = []
    current, at = -1, 0
    for token, (first, _) in enumerate(offsets):
        # Never backwards: the bytes of one character share an offset, and some tokens are empty.
        while at + 1 < len(characters) and characters[at][1] <= first:
            at += 1
        if at != current:
            starts.append((token, characters[at][2]))
            current = at
    edges = [*(start for start, _ in starts), len(offsets)]
    return [(*edge, kind) for edge, (_, kind) in zip(pairwise(edges), starts, strict=True)]


def _prompt_ids(prompts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    begin, texts = _prompt_texts(prompts, tokenizer)
    return [begin + ids for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]


def _prompt_texts(prompts: list[str], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[str]]:
    """Return the ids that every prompt begins with, and the text of each behind them."""
    if tokenizer.chat_template is None:
        begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        return begin, [PLAIN_TEMPLATE.format(prompt=prompt) for prompt in prompts]
    turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
    texts = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return [], cast(list[str], texts)  # the template writes its own beginning


def _example(
    example_id: str,
    prompt: list[int],
    response: str,
    ids: list[int],
    offsets: Iterable[tuple[int, int]] | None,
    end: int,
    rule: Rule | None,
) -> TokenizedExample:
    first, length = len(prompt), len(prompt) + len(ids) + 1
    inner = [(0, len(ids), "response")]
    if rule is not None and offsets is not None and ids:
        inner = token_spans(segment(response, rule), list(offsets))
    # The end-of-text token belongs to the last span.
    inner[-1] = (inner[-1][0], len(ids) + 1, inner[-1][2])
    scored = torch.zeros(length, dtype=torch.bool)
    scored[first:] = True
    return TokenizedExample(
        torch.tensor([*prompt, *ids, end], dtype=torch.int64),
        scored,
        (Span(0, first, "prompt"), *(Span(first + start, first + stop, kind) for start, stop, kind in inner)),
        example_id,
    )
