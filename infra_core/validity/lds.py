"""How well scores predict what retraining does: rank correlations over subsets, with intervals. numpy only.

The linear datamodelling score (Park et al. 2023, arXiv:2303.14186): a subset's outcome is predicted by the
sum of the scores of its rows, and predictions are correlated in rank with what models trained on them do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from infra_core.evaluation.resampling import LEVEL
from infra_core.evaluation.statistics import Interval
from infra_core.seeds import generator

RESAMPLES = 1_000
HALVES = 10  # ways of halving the seeds that are looked at

Scores = Float[np.ndarray, "rows queries"]
Outcomes = Float[np.ndarray, "subsets seeds queries"]


@dataclass(frozen=True)
class Correlations:
    """Rank correlations of one prediction with what happened, and the same in every resample.

    Attributes
    ----------
    value
        Spearman's, the mean over queries where there are several.
    draws
        By resample. All predictions of one bank are resampled alike, so they may be subtracted.
    subsets, seeds
        Behind it.
    """

    value: float
    draws: Float[np.ndarray, " resamples"]
    subsets: int
    seeds: int

    def interval(self) -> Interval:
        """Return the value with the range that holds 95 % of the resamples."""
        low, high = np.quantile(self.draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(
            self.value, float(low), float(high), float(self.draws.std(ddof=1)), self.subsets, self.seeds
        )

    def __sub__(self, other: "Correlations") -> "Correlations":
        """Return the difference, subset for subset and query for query."""
        return Correlations(
            self.value - other.value, self.draws - other.draws, self.subsets, min(self.seeds, other.seeds)
        )


@dataclass(frozen=True, eq=False)
class Bank:
    """What retraining on subsets did; any scores of the same rows and queries can be judged by it.

    Attributes
    ----------
    members
        Whether a row was in a subset.
    outcomes
        Of each query under the model trained on a subset, by training seed: e.g. the log-likelihood of its
        response in nats.
    groups
        Of each query its group.
    """

    members: Bool[np.ndarray, "subsets rows"]
    outcomes: Outcomes
    groups: tuple[str, ...]

    def judge(self, scores: Scores, seed: int) -> Correlations:
        """Return how well scores predict outcomes query by query, on average over queries.

        Parameters
        ----------
        scores
            How much a row raises a query's log-likelihood, in any unit that is the same for all rows.
        seed
            Of the resampling.
        """
        return correlate(self.members @ scores, self.outcomes.mean(axis=1), seed, self.outcomes.shape[1])

    def judge_group(self, group: str, scores: Scores, seed: int) -> Correlations:
        """Return how well scores predict the mean outcome of a group of queries, which curation acts on."""
        predicted = self.members @ scores[:, self._in(group)].mean(axis=1, keepdims=True)
        return correlate(predicted, self.of_group(group).mean(axis=1), seed, self.outcomes.shape[1])

    def ceiling(self, seed: int, group: str | None = None) -> Correlations:
        """Return how well half of the training seeds predict the other half: what luck of training leaves.

        With two seeds that is one training against another. The mean of all seeds, which scores are judged
        by, is less noisy than either half, so a perfect score may come out above it.
        """
        outcomes = self.outcomes
        if group is not None:
            outcomes = self.of_group(group)
        found = [correlate(one, other, seed) for one, other in _halves(outcomes)]
        return Correlations(
            float(np.mean([each.value for each in found])),
            np.mean([each.draws for each in found], axis=0),
            len(self.members),
            self.outcomes.shape[1],
        )

    def of_group(self, group: str) -> Outcomes:
        """Return the mean outcome of a group of queries."""
        return self.outcomes[:, :, self._in(group)].mean(axis=2, keepdims=True)

    def _in(self, group: str) -> list[int]:
        return [place for place, name in enumerate(self.groups) if name == group]


def correlate(predicted: np.ndarray, actual: np.ndarray, seed: int, trained: int = 1) -> Correlations:
    """Correlate the columns of two tables in rank, and on average; both are drawn from to see how sure it is.

    Parameters
    ----------
    predicted, actual
        Subsets × queries.
    seed
        Of the resampling.
    trained
        Training seeds behind what is actual.
    """
    subsets, queries = actual.shape
    times = generator(seed, "subsets").multinomial(subsets, np.full(subsets, 1 / subsets), size=RESAMPLES)
    drawn = generator(seed, "queries").multinomial(queries, np.full(queries, 1 / queries), size=RESAMPLES)
    # Ranks are taken once and resampled; ranking each resample anew changes little and costs much.
    ranks = rankdata(_rounded(predicted), axis=0), rankdata(actual, axis=0)
    [whole] = _weighted(*ranks, np.ones((1, subsets)))
    resampled = _weighted(*ranks, times)
    return Correlations(float(whole.mean()), (resampled * drawn).sum(axis=1) / queries, subsets, trained)


def _rounded(predicted: np.ndarray) -> np.ndarray:
    """Return sums in which what differs by the order of summing alone is equal."""
    largest = np.abs(predicted).max(initial=0.0)
    return predicted if largest == 0 else np.round(predicted / largest, 12)


def _halves(outcomes: Outcomes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield mean outcomes of one half of the seeds and of the other, for some ways of halving them."""
    seeds = range(outcomes.shape[1])
    for _, half in zip(range(HALVES), combinations(seeds, len(seeds) // 2), strict=False):
        rest = [number for number in seeds if number not in half]
        yield outcomes[:, list(half)].mean(axis=1), outcomes[:, rest].mean(axis=1)


def _weighted(one: np.ndarray, other: np.ndarray, times: np.ndarray) -> Float[np.ndarray, "draws queries"]:
    """Return Pearson's correlations of the columns, rows counted so often; 0 where a column is constant."""
    # Centred first: a column whose entries are all alike then has no variance, to the last bit.
    one, other, count = one - one.mean(axis=0), other - other.mean(axis=0), times.sum(axis=1, keepdims=True)
    means = times @ one / count, times @ other / count
    both = times @ (one * other) / count - means[0] * means[1]
    spread = (times @ one**2 / count - means[0] ** 2) * (times @ other**2 / count - means[1] ** 2)
    told = spread > 1e-12
    return np.divide(both, np.sqrt(np.where(told, spread, 1.0)), out=np.zeros_like(both), where=told)
