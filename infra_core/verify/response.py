"""Reading a response, and quoting from it."""

import re

THOUGHTS = (
    ("<think>", "</think>"),
    ("<thought>", "</thought>"),
    ("<Thought>", "</Thought>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
_OPENS, _CLOSES = (re.compile("|".join(map(re.escape, marks))) for marks in zip(*THOUGHTS, strict=True))
_AROUND_SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>|</?Output>")
_BRACE = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\{|\}")


def after_thought(response: str) -> str:
    """Return what a response says after its last thought; nothing if that one was opened and not closed.

    A thought that the prompt opened shows its end only, so whatever stands before an end is thought. A
    response without any mark is all answer.

    Examples
    --------
    >>> after_thought("<think>7? No.</think>8"), after_thought("8")
    ('8', '8')
    >>> after_thought("<think>7? No. 8? The answer is")
    ''
    """
    said = _CLOSES.split(response)[-1]
    return "" if _OPENS.search(said) else _AROUND_SOLUTION.sub("", said)


def opened_thought(prompt: str) -> str:
    r"""Return the mark of a thought that a prompt ends with and leaves open; empty if there is none.

    Examples
    --------
    >>> opened_thought("Assistant: <think>\n"), opened_thought("Assistant:")
    ('<think>', '')
    """
    return next((mark for mark, _ in THOUGHTS if prompt.rstrip().endswith(mark)), "")


def last_boxed(text: str) -> str | None:
    r"""Return what stands in the last closed ``\\boxed{…}`` (or ``\\framebox``, ``\\fbox``), or None.

    Examples
    --------
    >>> last_boxed(r"so \\boxed{\\frac{7}{8}}."), last_boxed(r"cut \\boxed{1")
    ('\\\\frac{7}{8}', None)
    """
    found = all_boxed(text)
    return found[-1] if found else None


def all_boxed(text: str) -> list[str]:
    r"""Return what stands in every closed ``\\boxed{…}``, in the order in which they close.

    Examples
    --------
    >>> all_boxed(r"\\boxed{1} or \\boxed{-1}")
    ['1', '-1']
    """
    opened: list[int | None] = []  # per open brace: where the box's content begins, None for other braces
    found = []
    for match in _BRACE.finditer(text):
        if match[0] == "}":
            start = opened.pop() if opened else None
            if start is not None:
                found.append(text[start : match.start()].strip())
        else:
            opened.append(match.end() if len(match[0]) > 1 else None)
    return found


def quote(text: str) -> str:
    """Return a text fit for one line of a table.

    Examples
    --------
    >>> quote("a  b" + 100 * "c")[-5:]
    'cccc…'
    """
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
