"""What sources call difficulty → [0, 1], 0 easiest and 1 hardest: one readable table. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence

SPELLED_EXACTLY: Mapping[str, float] = {
    # TACO writes capitals and has five steps
    "EASY": 0.0, "MEDIUM": 0.25, "MEDIUM_HARD": 0.5, "HARD": 0.75, "VERY_HARD": 1.0,
}  # fmt: skip
WORDS: Mapping[str, float] = {
    # LeetCode; the misspelling is real, 21 rows of it
    "easy": 0.0, "medium": 0.5, "meidum": 0.5, "hard": 1.0,
    # APPS
    "introductory": 0.0, "interview": 0.5, "competition": 1.0,
    # of tutorials and generated problems
    "beginner": 0.0, "intermediate": 0.5, "advanced": 1.0,
}  # fmt: skip
NOT_STATED = {
    "", "?", "-", "none", "null", "nan", "n/a", "na", "unknown", "unknown_difficulty", "unrated", "not rated",
}  # fmt: skip
_N = r"(-?\d+(?:\.\d+)?)"
_ROMAN = r"(?:i{1,2}\b)?"


def _step(first: float, last: float) -> Callable[[float], float]:
    """Return where a value stands between two ends of a scale."""
    return lambda value: (value - first) / (last - first)


SCALES: Sequence[tuple[str, Callable[..., float]]] = (
    (rf"level[\s:_]*{_N}", _step(1.0, 5.0)),  # MATH
    (rf"(?:\d{{4}}\s*)?aime\s*{_ROMAN}\s*(?:problem|#)?\s*{_N}", _step(1.0, 15.0)),  # the problem's number
    (rf"(?:\d{{4}}\s*)?amc\s*(?:8|10|12)[ab]?\s*(?:problem|#)\s*{_N}", _step(1.0, 25.0)),
    (rf"aops\s*{_N}", _step(1.0, 10.0)),  # Art of Problem Solving, and models that grade by it
    (rf"rating\s*{_N}", _step(800.0, 3500.0)),  # Codeforces
    (rf"{_N}\s*kyu", _step(8.0, 1.0)),  # Codewars, where the lower is the harder
    (rf"pass rate\s*{_N}", _step(1.0, 0.0)),  # of another model, as in OpenMathReasoning
    (rf"pass rate\s*{_N}\s*%", _step(100.0, 0.0)),
    (rf"{_N}\s*/\s*{_N}", lambda k, n: (k - 1) / (n - 1) if n > 1 else -1.0),  # "3/7"
)
"""A place on a stated scale; one beyond its ends says nothing."""

_WRAPPED = re.compile(r"(?:level|aime|aops|rating|pass rate)?[\s:_#]*(.*?)\s*(?:/\s*\d+|kyu|%)?")


def label_difficulty(raw: str | None) -> float | None:
    """Return a source's label as a difficulty, 0 easiest and 1 hardest, or None if it says nothing known.

    A step k of n becomes (k − 1)/(n − 1). A bare number has no scale and is None: give it one in the
    mapping, as in ``"{difficulty}/10"``, ``"rating {rating}"`` or ``"pass rate {pass_rate}"``.

    Examples
    --------
    >>> [label_difficulty(label) for label in ("Level 3", "Meidum", "interview", "VERY_HARD", "2/5")]
    [0.5, 0.5, 0.5, 1.0, 0.25]
    >>> [label_difficulty(label) for label in ("pass rate 0.25", "rating 2150", "8 kyu", "2017 AIME II #8")]
    [0.75, 0.5, 0.0, 0.5]
    >>> [label_difficulty(label) for label in ("Level 4.0", "8", "9/7", "Level ?", None)]
    [0.75, None, None, None, None]
    """
    if raw is None:
        return None
    label = " ".join(raw.split())
    if label in SPELLED_EXACTLY:
        return SPELLED_EXACTLY[label]
    if label.lower() in WORDS:
        return WORDS[label.lower()]
    for pattern, place in SCALES:
        match = re.fullmatch(pattern, label.lower())
        if match:
            value = place(*map(float, match.groups()))
            return value + 0.0 if 0 <= value <= 1 else None
    return None


def says_nothing(raw: str | None) -> bool:
    """Whether a label is a way of writing that the difficulty is not known, alone or on a scale."""
    if raw is None:
        return True
    label = " ".join(raw.lower().split())
    wrapped = _WRAPPED.fullmatch(label)
    return label in NOT_STATED or (wrapped is not None and wrapped[1] in NOT_STATED)
