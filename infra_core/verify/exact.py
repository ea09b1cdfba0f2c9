"""Compare answers as text: for problems whose answer is one string."""

import re

from infra_core.verify.response import after_thought, quote
from infra_core.verify.verdict import Verdict

_MARK = re.compile(r"(?i)(?:answer\W{0,3}:|####)[ \t*]*")


def judge_exact(response: str, answer: str) -> Verdict:
    r"""Compare the text behind the last "answer:" or "####", else the last line, ignoring case and spacing.

    Examples
    --------
    >>> judge_exact("sorted:\nAnswer:  C,  B", "c, b").correct
    True
    """
    text = after_thought(response)
    got = _line(_MARK.split(text)[-1], first=_MARK.search(text) is not None)
    if not got:
        return Verdict(False, "no answer found")
    if _normal(got) == _normal(answer):
        return Verdict(True, f"equal: {quote(got)}")
    return Verdict(False, f"got {quote(got)}, expected {quote(answer)}")


def _line(text: str, *, first: bool) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return (lines[0] if first else lines[-1]).strip() if lines else ""


def _normal(text: str) -> str:
    return " ".join(text.strip().strip("*`").split()).casefold()
