"""Compare answers as text: for problems whose answer is one string."""

import re

from infra_core.verify.verdict import Verdict

_MARK = re.compile(r"(?i)(?:answer\W{0,3}:|####)[ \t*]*")


def judge_exact(response: str, answer: str) -> Verdict:
    """Compare the text behind the last "answer:" or "####", else the last line, ignoring case and spacing.

    Examples
    --------
    >>> judge_exact("sorted:\\nAnswer:  C,  B", "c, b").correct
    True
    """
    got, expected = _line(_MARK.split(response)[-1], first=_MARK.search(response) is not None), answer
    if not got:
        return Verdict(False, "no answer found")
    if _normal(got) == _normal(expected):
        return Verdict(True, f"equal: {_short(got)}")
    return Verdict(False, f"got {_short(got)}, expected {_short(expected)}")


def _line(text: str, *, first: bool) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return (lines[0] if first else lines[-1]).strip() if lines else ""


def _normal(text: str) -> str:
    return " ".join(text.strip().strip("*`").split()).casefold()


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
