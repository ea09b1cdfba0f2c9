"""How sure we are: intervals and differences that respect questions and training seeds. numpy only.

Answers to one question are alike, and so are questions answered by one trained model: n answers are not n
independent facts. Every interval here resamples whole questions (and whole training seeds, where there are
two or more), and a difference is paired: the same questions under both arms (method of `docs/papers.md`).

Tables are questions × training seeds: entry [q, s] is the mean over draws of question q under seed s.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float

from infra_core.seeds import generator

RESAMPLES = 2_000
LEVEL = 0.95
POWER = 0.8

Table = Float[np.ndarray, "questions seeds"]


@dataclass(frozen=True)
class Interval:
    """A mean and the range that 95 % of such experiments would leave it in."""

    value: float
    low: float
    high: float
    stderr: float
    n: int  # questions
    seeds: int


@dataclass(frozen=True)
class Difference:
    """What one arm does better than another over the same questions."""

    interval: Interval
    verdict: Literal["better", "worse", "cannot tell"]
    smallest_visible: float  # a true difference of this size would be told in 80 % of such experiments


def mean_interval(table: Table, seed: int, *, bounds: tuple[float, float] | None = None) -> Interval:
    """Return the mean of a table with its 95 % interval by bootstrap over questions and training seeds.

    Parameters
    ----------
    table
        Questions × training seeds.
    seed
        Of the resampling.
    bounds
        Smallest and largest possible entry, e.g. (0, 1) for accuracy. With bounds the interval is never
        narrower than Wilson's for that many questions when all questions agree: nothing solved out of
        ten does not prove that nothing can be.

    Raises
    ------
    ValueError
        If there are no questions.
    """
    _require_entries(table)
    means = _resampled_means(table, seed)
    value = float(table.mean())
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if bounds:
        smallest, largest = bounds
        if np.ptp(table.mean(axis=1)) == 0:
            share = (value - smallest) / (largest - smallest)
            wide = [smallest + (largest - smallest) * edge for edge in _wilson(share, len(table))]
            low, high = min(low, wide[0]), max(high, wide[1])
        low, high = max(low, smallest), min(high, largest)
    return Interval(value, float(low), float(high), float(means.std()), *table.shape)


def paired_difference(after: Table, before: Table, seed: int) -> Difference:
    """Return by how much `after` exceeds `before`, question by question, with a plain verdict.

    Both tables have the same questions in the same order. Training seeds need not be as many: the mean
    over seeds is compared, and seeds of each arm are resampled on their own where there are two or more.
    The verdict is "better" or "worse" when the 95 % interval excludes zero, else "cannot tell".

    Raises
    ------
    ValueError
        If there are no questions, or not the same number of them.
    """
    _require_entries(after)
    _require_entries(before)
    if len(after) != len(before):
        raise ValueError(f"{len(after)} questions after and {len(before)} before; compare the same ones")
    picks = _question_picks(len(after), seed)
    resampled = _means(after, picks, seed, "after") - _means(before, picks, seed, "before")
    value = float(after.mean() - before.mean())
    low, high = (float(edge) for edge in np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    verdict: Literal["better", "worse", "cannot tell"] = "cannot tell"
    if low > 0 or high < 0:
        verdict = "better" if value > 0 else "worse"
    seeds = min(after.shape[1], before.shape[1])
    interval = Interval(value, low, high, float(resampled.std()), len(after), seeds)
    return Difference(interval, verdict, smallest_visible_difference(interval.stderr, len(after)))


def smallest_visible_difference(stderr: float, n: int) -> float:
    """Return the true difference that a design with this standard error tells from zero in 80 % of runs.

    Two-sided at 5 %: (1.96 + 0.84) × standard error, the standard error being what `paired_difference`
    observed, so that the discordance of the arms, the number of questions and the seeds are all in it.
    Where the arms did not differ on any question the error is unknown, not zero: then three questions out
    of `n` ("rule of three") is what may have been missed.

    Examples
    --------
    >>> round(smallest_visible_difference(0.05, 100), 3)
    0.14
    >>> smallest_visible_difference(0.0, 100)
    0.03
    """
    if stderr == 0:
        return min(1.0, 3 / n)
    normal = NormalDist()
    return (normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)) * stderr


def _require_entries(table: Table) -> None:
    if table.size == 0:
        raise ValueError("a mean over no questions; give at least one question and one training seed")


def _question_picks(n: int, seed: int) -> np.ndarray:
    return generator(seed, "questions").integers(n, size=(RESAMPLES, n))


def _resampled_means(table: Table, seed: int) -> np.ndarray:
    return _means(table, _question_picks(len(table), seed), seed, "seeds")


def _means(table: Table, picks: np.ndarray, seed: int, name: str) -> np.ndarray:
    """Return the mean of every resample of questions (`picks`) and, where there are several, of seeds."""
    seeds = table.shape[1]
    if seeds == 1:
        return table[:, 0][picks].mean(axis=1)
    # Resampled seeds enter as weights, so that no questions × seeds × resamples array is built.
    weights = generator(seed, name).multinomial(seeds, np.full(seeds, 1 / seeds), size=len(picks)) / seeds
    by_seed = np.stack([column[picks].mean(axis=1) for column in table.T], axis=1)
    return (weights * by_seed).sum(axis=1)


def _wilson(share: float, n: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(centre - half), float(centre + half)
