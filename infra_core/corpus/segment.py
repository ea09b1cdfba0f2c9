"""Response text → spans that tile it. Pure; `render` turns them into token spans."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

Rule = Literal["lines", "sentences"]
CharSpan = tuple[int, int, str]  # start, stop, kind

FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})")
# An end mark, closing quotes or brackets, then space. "3.5" has no space; "1. " and "A. " begin a list item.
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]*]*[ \t]+(?=\S)")
LIST_MARK = re.compile(r"\s*(?:\w|\d+)[.!?]\s*")


def segment(response: str, rule: Rule) -> list[CharSpan]:
    r"""Divide a response into spans that tile it.

    ``lines``: a line with its newline is a span. ``sentences``: also the sentences of a line of text;
    inside a code fence a line stays whole. Blank lines belong to what precedes them (at the very start to
    what follows). Kind is ``code`` between and including fences, else ``text``.

    Examples
    --------
    >>> segment("Add 2. Then 3.\n\n5", "sentences")
    [(0, 7, 'text'), (7, 16, 'text'), (16, 17, 'text')]
    >>> segment("", "lines")
    []
    """
    starts: list[tuple[int, str]] = []
    for start, line, kind in _lines(response):
        if not line.strip():
            continue
        if not starts:
            start, line = 0, response[: start + len(line)]
        starts.append((start, kind))
        if rule == "sentences" and kind == "text":
            starts.extend((start + cut, kind) for cut in _cuts(line))
    if not starts and response:
        starts = [(0, "text")]
    edges = [*(start for start, _ in starts), len(response)]
    return [(*edge, kind) for edge, (_, kind) in zip(pairwise(edges), starts, strict=True)]


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    r"""Yield (start, line with its newline, kind). Only \n ends a line: str.splitlines knows ten more."""
    start, fenced = 0, False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        is_fence = FENCE.match(line) is not None
        yield start, line, "code" if fenced or is_fence else "text"
        fenced ^= is_fence
        start += len(line)


def _cuts(line: str) -> Iterator[int]:
    begin = 0
    for end in SENTENCE_END.finditer(line):
        if not LIST_MARK.fullmatch(line, begin, end.end()):
            yield end.end()
            begin = end.end()
