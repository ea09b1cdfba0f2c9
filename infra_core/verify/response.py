"""Reading a response, and quoting from it."""

import re

_THOUGHT_ENDS = re.compile(r"</think>|</thought>|<\|end_of_thought\|>")


def after_thought(response: str) -> str:
    """Return what a response says after its last closed thought; all of it if it closes none.

    Examples
    --------
    >>> after_thought("<think>7? No.</think>8")
    '8'
    """
    return _THOUGHT_ENDS.split(response)[-1]


def quote(text: str) -> str:
    """Return a text fit for one line of a table.

    Examples
    --------
    >>> quote("a  b" + 100 * "c")[-5:]
    'cccc…'
    """
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
