"""Where a response first has the right answer, by value, as answers are judged."""

import re
from collections.abc import Iterator, Sequence

from infra_core.verify.bounded import judge_maths_bounded

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_NAME = re.compile(r"(?<!\\)\b\w+")


def first_right(spans: Sequence[str], answer: str | None) -> int | None:
    """Return the first span whose result is the answer; None if there is none, or no answer is known.

    The result of a span is what stands behind its last equals sign, or what a judge reads from it as a
    whole. A number of the same value elsewhere in it does not count.
    """
    if answer is None or not answer.strip():
        return None
    for number, span in enumerate(spans):
        results = [(text, answer) for text in _results(span) if _may_hold(text, answer)]
        if any(verdict.correct for verdict in judge_maths_bounded(results)):
            return number
    return None


def _results(span: str) -> Iterator[str]:
    yield span.strip()
    _, sign, behind = span.rpartition("=")
    if sign:
        yield behind.strip()


def _may_hold(text: str, answer: str) -> bool:
    """Whether it is worth judging, which takes a thousand times longer than looking."""
    if "/" in text or "\\" in text:  # a number may be written in others
        return True
    values = {float(number.replace(",", "")) for number in _NUMBER.findall(text)}
    wanted = {float(number.replace(",", "")) for number in _NUMBER.findall(answer)}
    names = set(_NAME.findall(text))
    return wanted <= values and all(name in names for name in _NAME.findall(answer) if not name.isdigit())
