"""How alike two tables of scores are, and how a cost grows. numpy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the correlation of all entries together."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the lowest rank correlation of any query, given one row a query.

    Scores are real numbers of which no two are alike, so ties are not looked after.
    """
    return min(float(np.corrcoef(_ranks(a), _ranks(b))[0, 1]) for a, b in zip(one, other, strict=True))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.argsort(np.argsort(values))


def growth_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return p of seconds ∝ sizeᵖ, by least squares in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
