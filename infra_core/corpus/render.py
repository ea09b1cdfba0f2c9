"""Rows → `TokenizedExample`: chat template, tokens, spans. Only here text becomes ids."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedTokenizerBase

from infra_core.corpus.example import Span, TokenizedExample
from infra_core.corpus.schema import RANGES, SPANS
from infra_core.corpus.segment import CharSpan, Rule, segment
from infra_core.errors import DataError

ROWS_AT_ONCE = 256
PLAIN_TEMPLATE = "{prompt}\n"  # of tokenizers that have no chat template
Offsets = Sequence[tuple[int, int]]
"""Of each token of a text the characters that it covers."""


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
        Rows with `example_id`, `prompt` and `response`. If they have it, as in a mixture, `weight`, and
        `masked`: stretches of the response in characters, whose tokens are not scored. A token is in the
        stretch that its first character is in.
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
    for rows in _with_defaults(frame).iter_slices(ROWS_AT_ONCE):
        prompts = _prompt_ids(rows["prompt"].to_list(), tokenizer)
        for row, prompt, (ids, offsets) in zip(
            rows.iter_rows(named=True), prompts, _response_ids(rows, tokenizer, spans), strict=True
        ):
            example = _example(row, prompt, ids, offsets, tokenizer.eos_token_id, spans)
            yield _masked(example, row["masked"], len(prompt), offsets) if row["masked"] else example


def spans_of(frame: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, rule: Rule) -> pl.DataFrame:
    """Return one row a span of the response, as `render` divides it: schema SPANS.

    Characters are cut where tokens begin, so that masking them masks the tokens of the span and no other.
    """
    found = []
    for rows in _with_defaults(frame).iter_slices(ROWS_AT_ONCE):
        texts = rows.select("example_id", "response").iter_rows()
        for (name, text), (ids, offsets) in zip(texts, _response_ids(rows, tokenizer, rule), strict=True):
            spans = token_spans(segment(text, rule), offsets or ()) if ids else []
            edges = [0, *((offsets or ())[start][0] for start, _, _ in spans[1:]), len(text)]
            found += [
                (name, number, kind, *edges[number - 1 : number + 1], stop - start, number == len(spans))
                for number, (start, stop, kind) in enumerate(spans, 1)
            ]
    return pl.DataFrame(found, schema=pl.Schema(SPANS), orient="row")


def response_offsets(frame: pl.DataFrame, tokenizer: PreTrainedTokenizerBase) -> Iterator[Offsets]:
    """Yield for each row which characters of its response each token covers, as `render` cuts it.

    The end-of-text token, which `render` puts behind them, covers none and is not among them.
    """
    for rows in frame.select("response").iter_slices(ROWS_AT_ONCE):
        texts = rows["response"].to_list()
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        yield from encoded["offset_mapping"]


def _with_defaults(frame: pl.DataFrame) -> pl.DataFrame:
    columns = {"weight": pl.Float32(), "masked": RANGES}
    missing = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in columns.items() if name not in frame.columns
    ]
    return frame.with_columns(missing).select("example_id", "prompt", "response", *columns)


def _response_ids(
    rows: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, spans: Rule | None
) -> Iterator[tuple[list[int], Offsets | None]]:
    """Return tokens of each response, and the characters of each if they are needed."""
    needed = spans is not None or rows["masked"].is_not_null().any()
    encoded = tokenizer(
        rows["response"].to_list(), add_special_tokens=False, return_offsets_mapping=needed, verbose=False
    )
    offsets = encoded["offset_mapping"] if needed else [None] * len(rows)
    yield from zip(encoded["input_ids"], offsets, strict=True)


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
    # Never backwards: the bytes of one character share an offset, and some tokens are empty.
    firsts = np.maximum.accumulate([first for first, _ in offsets] or [0])
    within = np.searchsorted([stop for _, stop, _ in characters[:-1]], firsts[: len(offsets)], side="right")
    begins = np.flatnonzero(np.diff(within, prepend=-1))
    kinds = [characters[span][2] for span in within[begins]]
    edges = [*begins.tolist(), len(offsets)]
    return [(*edge, kind) for edge, kind in zip(pairwise(edges), kinds, strict=True)]


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
    row: Mapping[str, Any],
    prompt: list[int],
    ids: list[int],
    offsets: Offsets | None,
    end: int,
    rule: Rule | None,
) -> TokenizedExample:
    first, length = len(prompt), len(prompt) + len(ids) + 1
    inner = [(0, len(ids), "response")]
    if rule is not None and offsets is not None and ids:
        inner = token_spans(segment(row["response"], rule), offsets)
    # The end-of-text token belongs to the last span.
    inner[-1] = (inner[-1][0], len(ids) + 1, inner[-1][2])
    scored = torch.zeros(length, dtype=torch.bool)
    scored[first:] = True
    return TokenizedExample(
        torch.tensor([*prompt, *ids, end], dtype=torch.int64),
        scored,
        (Span(0, first, "prompt"), *(Span(first + start, first + stop, kind) for start, stop, kind in inner)),
        row["example_id"],
        1.0 if row["weight"] is None else row["weight"],
    )


def _masked(
    example: TokenizedExample, ranges: Sequence[Mapping[str, int]], first: int, offsets: Offsets | None
) -> TokenizedExample:
    """Unscore the tokens of the response, which begins at token `first`, that begin in one of the ranges."""
    scored = example.scored.clone()
    for token, (begin, _) in enumerate(offsets or ()):
        if any(piece["start"] <= begin < piece["stop"] for piece in ranges):
            scored[first + token] = False
    return replace(example, scored=scored)
