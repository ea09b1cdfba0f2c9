"""Rows that are alike in what a change should not change: their length, the collection they are from."""

from collections.abc import Sequence

import numpy as np
import polars as pl


def alike(wanted: pl.DataFrame, rows: pl.DataFrame, hold: Sequence[str]) -> pl.DataFrame:
    """Reorder `rows` so that the first are like `wanted`, one for one; the rest follow in their order.

    Parameters
    ----------
    wanted, rows
        Schema ROWS; of rows that are equally like, the earlier one is taken.
    hold
        ``source``: of the same collection, where there is one left. ``length``: as near in tokens as can be.
    """
    asked, lengths = (
        frame["tokens"].to_numpy() if "length" in hold else np.zeros(frame.height, dtype=np.int64)
        for frame in (wanted, rows)
    )
    picked: dict[int, int] = {}  # place among `wanted` → place among `rows`
    if "source" in hold:
        kinds, families = wanted["family"].to_numpy(), rows["family"].to_numpy()
        for family in sorted(set(kinds)):
            ours, theirs = np.flatnonzero(kinds == family), np.flatnonzero(families == family)
            picked |= _paired(ours, theirs, asked, lengths)
    ours, theirs = np.ones(wanted.height, dtype=bool), np.ones(rows.height, dtype=bool)
    ours[list(picked)], theirs[list(picked.values())] = False, False
    picked |= _paired(np.flatnonzero(ours), np.flatnonzero(theirs), asked, lengths)
    theirs[list(picked.values())] = False
    return rows[[*(picked[place] for place in sorted(picked)), *np.flatnonzero(theirs).tolist()]]


def _paired(ours: np.ndarray, theirs: np.ndarray, asked: np.ndarray, lengths: np.ndarray) -> dict[int, int]:
    """Give each of `ours`, in order, the one of `theirs` that is left and nearest in length."""
    theirs = theirs[np.argsort(lengths[theirs], kind="stable")]
    line = lengths[theirs]
    # Places that are free, from each place on: to the right, and one further on to the left; ends are marks.
    right, left = list(range(len(line) + 1)), list(range(len(line) + 1))
    found = {}
    for place in ours[: len(line)].tolist():
        start = int(np.searchsorted(line, asked[place]))
        after, before = _free(right, start), _free(left, start) - 1
        near = [at for at in (after, before) if 0 <= at < len(line)]
        at = min(near, key=lambda at: abs(int(line[at]) - int(asked[place])))
        found[place] = int(theirs[at])
        right[at], left[at + 1] = at + 1, at
    return found


def _free(next_free: list[int], at: int) -> int:
    """Follow the marks to a place that is free, halving the way for those who come after."""
    while next_free[at] != at:
        next_free[at] = next_free[next_free[at]]
        at = next_free[at]
    return at
