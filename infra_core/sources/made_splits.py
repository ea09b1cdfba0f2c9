"""Which split a problem is in, and drawing different problems of graded level from one split."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from infra_core.errors import RequestError

SPLITS = {"base": 50, "train": 20, "reserve": 20, "query": 4, "exam": 6}
"""Parts in a hundred of all problems there are."""

_PATIENCE = 3000  # draws in a row that may bring nothing new before a level counts as exhausted


def split_of(problem: str) -> str:
    """Return the split that a problem is in.

    Examples
    --------
    >>> split_of("12+30=?") in SPLITS
    True
    """
    place = int.from_bytes(hashlib.sha256(problem.encode()).digest()[:8], "big") % 100
    edges = itertools.accumulate(SPLITS.values())
    return next(split for split, edge in zip(SPLITS, edges, strict=True) if place < edge)


def levels_of(text: str) -> range:
    """Read ``1-4`` or ``3``.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> list(levels_of("2-4")), list(levels_of("3"))
    ([2, 3, 4], [3])
    """
    first, _, last = text.partition("-")
    levels = range(int(first), int(last or first) + 1)
    if not levels or levels[0] < 1:
        raise ValueError(f"{text!r} is no range of levels")
    return levels


class Draft(NamedTuple):
    """A problem, and how the rest of its row is worked out once the problem is wanted."""

    problem: str
    finish: Callable[[], dict[str, Any]]


def graded(
    make: Callable[[int, Random], Draft], *, rows: int, levels: str, seed: int, split: str
) -> Iterator[dict[str, Any]]:
    """Yield `rows` different problems of one split, the levels in turn.

    Parameters
    ----------
    make
        Drafts a row of a level; the problem is what must differ.
    rows
        How many.
    levels
        ``1-4`` or ``3``.
    seed
        Of the draws.
    split
        One of `SPLITS`.

    Raises
    ------
    RequestError
        If there is no such split or level, or the split has not so many problems of a level.
    """
    if split not in SPLITS:
        raise RequestError(f"there is no split {split!r}; there are {list(SPLITS)}")
    try:
        turns = itertools.cycle(levels_of(levels))
    except ValueError as error:
        raise RequestError(f"levels={levels!r} is no range; write 1-4 or 3") from error
    random, seen = Random(f"{seed}/{split}"), set[str]()  # noqa: S311 - not for secrets
    for level in itertools.islice(turns, rows):
        for _ in range(_PATIENCE):
            draft = make(level, random)
            if draft.problem not in seen and split_of(draft.problem) == split:
                break
        else:
            raise RequestError(
                f"split {split!r} has fewer problems of level {level} than asked for; lower rows"
            )
        seen.add(draft.problem)
        yield draft.finish()
