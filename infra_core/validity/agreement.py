"""How alike methods order rows: the same model looked at otherwise, at another time, or trained again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from infra_core.validity.lds import Correlations, correlate

FIRST = 0.1
"""Of the rows, that are compared as those which a method puts first."""


@dataclass(frozen=True)
class Agreement:
    """How alike a method orders rows for a group of queries as the first of all methods does.

    Attributes
    ----------
    rank
        Spearman's correlation of the scores of rows, resampled over rows.
    in_common
        The share that the first tenths of both have in common; by chance it would be a tenth.
    """

    method: str
    against: str
    group: str
    rank: Correlations
    in_common: float


def agreements(tables: Mapping[str, pl.DataFrame], groups: Sequence[str], seed: int) -> list[Agreement]:
    """Return how alike all methods are to the first, by group of queries.

    Parameters
    ----------
    tables
        By method: `example_id`, `scores` on single queries; of the same rows.
    groups
        Of each query.
    seed
        Of the resampling.
    """
    (against, first), *others = tables.items()
    asked, rows = np.array(groups), first["example_id"].sort()
    own = _by_group(first, asked, rows)
    found = []
    for method, table in others:
        theirs = _by_group(table, asked, rows)
        for group, ours in own.items():
            rank = correlate(ours, theirs[group], seed)
            found.append(Agreement(method, against, group, rank, _common(ours, theirs[group])))
    return found


def _by_group(table: pl.DataFrame, asked: np.ndarray, rows: pl.Series) -> dict[str, np.ndarray]:
    """Return the mean score of each row over a group's queries, rows × 1, in the order of `rows`."""
    ordered = rows.to_frame().join(table.unique("example_id"), on="example_id", maintain_order="left")
    scores = np.array(ordered["scores"].to_list(), dtype=float)
    groups = dict.fromkeys(asked.tolist())
    return {group: scores[:, asked == group].mean(axis=1, keepdims=True) for group in groups}


def _common(one: np.ndarray, other: np.ndarray) -> float:
    count = max(1, round(FIRST * len(one)))
    first, second = (set(np.argsort(-each[:, 0], kind="stable")[:count].tolist()) for each in (one, other))
    return len(first & second) / count
