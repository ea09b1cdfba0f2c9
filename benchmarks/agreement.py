"""How alike two tables of scores are, and how a cost grows."""

from collections.abc import Sequence
from typing import NamedTuple

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


class Growth(NamedTuple):
    """An exponent and its standard error."""

    exponent: float
    error: float


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> Growth:
    """Return p of cost ∝ sizeᵖ, by least squares in logarithms; of two sizes there is no error to tell."""
    x, y = np.log(sizes), np.log(costs)
    slope, start = np.polyfit(x, y, 1)
    scatter = float(np.square(y - slope * x - start).sum()) / max(len(x) - 2, 1)
    return Growth(float(slope), (scatter / float(np.square(x - x.mean()).sum())) ** 0.5)
