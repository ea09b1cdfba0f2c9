"""How sure we are: intervals and differences that respect questions and training seeds. numpy only.

Answers to one question are alike, and so are questions answered by one trained model: n answers are not n
independent facts. Every interval here resamples whole questions, adds the luck of training where there are
two seeds or more, and a difference is paired: the same questions under both arms.

Tables are questions × training seeds: entry [q, s] is the mean over draws of question q under seed s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float

from infra_core.seeds import generator

RESAMPLES = 2_000
LEVEL = 0.95
POWER = 0.8

Table = Float[np.ndarray, "_ _"]  # questions × training seeds; unnamed, since arms may differ in seeds


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


def mean_interval(
    table: Table,
    seed: int,
    *,
    bounds: tuple[float, float] | None = None,
    alike: Sequence[Table] = (),
) -> Interval:
    """Return the mean of a table with its 95 % interval over questions and training seeds.

    Parameters
    ----------
    table
        Questions × training seeds. With one seed the interval is about that one trained model.
    seed
        Of the resampling.
    bounds
        Smallest and largest possible entry, e.g. (0, 1) for accuracy. The interval stays within, and when
        all questions agree it is no narrower than Wilson's: nothing solved out of ten does not prove that
        nothing can be.
    alike
        Tables of arms trained alike, this one among them: what training seeds differ by is then judged from
        all of them. From two seeds alone it is hardly known, and the interval says so.

    Raises
    ------
    ValueError
        If there are no questions.
    """
    _require_entries(table)
    value, questions = float(table.mean()), table.mean(axis=1)
    interval = _interval(value, questions, [table], seed, alike)
    if bounds is None:
        return interval
    low, high = interval.low, interval.high
    smallest, largest = bounds
    if np.ptp(questions) == 0:
        edges = _wilson((value - smallest) / (largest - smallest), len(table))
        low, high = (
            pick(smallest + (largest - smallest) * edge, bound)
            for pick, edge, bound in zip((min, max), edges, (low, high), strict=True)
        )
    return replace(interval, low=max(low, smallest), high=min(high, largest))


def paired_difference(after: Table, before: Table, seed: int, *, alike: Sequence[Table] = ()) -> Difference:
    """Return by how much `after` exceeds `before`, question by question, with a plain verdict.

    Both tables have the same questions in the same order; training seeds need not be as many. The verdict
    is "better" (larger) or "worse" when the 95 % interval excludes zero, else "cannot tell". `alike` is as
    in `mean_interval`.

    Raises
    ------
    ValueError
        If there are no questions, or not the same number of them.
    """
    _require_entries(after)
    _require_entries(before)
    if len(after) != len(before):
        raise ValueError(f"{len(after)} questions after and {len(before)} before; compare the same ones")
    value = float(after.mean() - before.mean())
    interval = _interval(value, after.mean(axis=1) - before.mean(axis=1), [after, before], seed, alike)
    verdict: Literal["better", "worse", "cannot tell"] = "cannot tell"
    if interval.low > 0 or interval.high < 0:
        verdict = "better" if value > 0 else "worse"
    return Difference(interval, verdict, smallest_visible_difference(interval))


def smallest_visible_difference(observed: Interval) -> float:
    """Return the true difference that this design would tell from zero in 80 % of experiments.

    Half the interval that was observed, which is what a difference must exceed, and 0.84 standard errors
    more, so that it does so four times in five. The discordance of the arms, the number of questions and
    the seeds are all in them. Where the arms differed on no question the error is unknown, not zero: then
    three questions out of `n` ("rule of three") is what may have been missed.

    Examples
    --------
    >>> round(smallest_visible_difference(Interval(0.1, 0.0, 0.2, stderr=0.05, n=100, seeds=1)), 3)
    0.142
    >>> smallest_visible_difference(Interval(0.0, 0.0, 0.0, stderr=0.0, n=100, seeds=1))
    0.03
    """
    if observed.stderr == 0:
        return 3 / observed.n
    return (observed.high - observed.low) / 2 + NormalDist().inv_cdf(POWER) * observed.stderr


def _require_entries(table: Table) -> None:
    if table.size == 0:
        raise ValueError("a mean over no questions; give at least one question and one training seed")


def _interval(
    value: float,
    questions: np.ndarray,
    tables: Sequence[np.ndarray],
    seed: int,
    alike: Sequence[np.ndarray],
) -> Interval:
    """Return the interval of the mean of `questions`, with the luck of training that `tables` had."""
    n = len(questions)
    # n - 1 of n, not n: the spread of such means is the unbiased standard error (Rao and Wu 1988).
    picks = generator(seed, "questions").integers(n, size=(RESAMPLES, max(1, n - 1)), dtype=np.int32)
    means = questions[picks].mean(axis=1) - questions.mean() + value
    variance = float(means.var())
    of_one, freedom = _training_luck(alike or tables)
    luck = of_one * sum(1 / table.shape[1] for table in tables)
    if luck > 0:
        # Two or three seeds are too few to resample; the error of their mean is Student's.
        means = means + np.sqrt(luck) * generator(seed, "luck").standard_t(freedom, size=RESAMPLES)
    # An end that is zero but for rounding is zero: a verdict must not hang on 3e-17.
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).round(12)
    seeds = min(table.shape[1] for table in tables)
    return Interval(value, float(low), float(high), float(np.sqrt(variance + luck)), n, seeds)


def _training_luck(tables: Sequence[np.ndarray]) -> tuple[float, int]:
    """Return the variance of one trained model's mean from seed to seed, and its degrees of freedom.

    Two-way analysis of variance: what seeds differ by, beyond what their answers to single questions make
    them differ by (that part is in the resampled questions already). Arms share one estimate.
    """
    several = [table for table in tables if table.shape[1] > 1 and len(table) > 1]
    freedom = sum(table.shape[1] - 1 for table in several)
    if not freedom:
        return 0.0, 0
    between = within = within_freedom = 0.0
    for table in several:
        by_seed = table.mean(axis=0) - table.mean()
        residual = table - table.mean(axis=1, keepdims=True) - by_seed
        between += len(table) * float(by_seed @ by_seed)
        within += float((residual**2).sum())
        within_freedom += (len(table) - 1) * (table.shape[1] - 1)
    return max(0.0, between / freedom - within / within_freedom) / len(several[0]), freedom


def _wilson(share: float, n: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(centre - half), float(centre + half)
