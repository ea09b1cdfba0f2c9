"""How sure we are: intervals and differences that respect questions and training seeds. numpy only.

Answers to one question are alike, and so are questions answered by one trained model: n answers are not n
independent facts. Every interval here resamples whole questions, adds the luck of training where there are
two seeds or more, and a difference is paired: the same questions under both arms. What it comes to in
simulated exams is in docs/statistics.md.

Tables are questions × training seeds: entry [q, s] is the mean over draws of question q under seed s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float

from infra_core.evaluation.resampling import (
    DIGITS,
    LEVEL,
    RESAMPLES,
    errors,
    share_reach,
    wilson,
    within,
)

POWER = 0.8

Table = Float[np.ndarray, "_ _"]  # questions × training seeds; unnamed, since arms may differ in seeds
Verdict = Literal["better", "worse", "cannot tell"]


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
    """What one arm does better than another over the same questions; larger is better.

    Attributes
    ----------
    interval
        Of this difference alone, not widened for others that are looked at beside it.
    p
        How often arms that are alike would differ as much. At most 0.05 where the interval excludes zero,
        more where it does not: both are read off the same resamples.
    p_holm
        The same, corrected for all comparisons of the family: see `corrected`. Equals `p` for one alone.
    smallest_visible
        A true difference of this size would be told in 80 % of such experiments, corrected likewise.
    """

    interval: Interval
    p: float
    p_holm: float
    smallest_visible: float

    @property
    def verdict(self) -> Verdict:
        """By the corrected p."""
        return _told(self.interval.value, self.p_holm)

    @property
    def verdict_alone(self) -> Verdict:
        """By the interval, as if nothing else had been compared."""
        return _told(self.interval.value, self.p)


def _told(value: float, p: float) -> Verdict:
    if p > 1 - LEVEL or value == 0:
        return "cannot tell"
    return "better" if value > 0 else "worse"


def told_apart(gain: Interval) -> Verdict:
    """Return whether a gain is one, by its interval."""
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "cannot tell"


def mean_interval(table: Table, seed: int, *, alike: Sequence[Table] = ()) -> Interval:
    """Return the mean of a table with its 95 % interval over questions and training seeds.

    Parameters
    ----------
    table
        Questions × training seeds. With one seed the interval is about that one trained model.
    seed
        Of the resampling.
    alike
        Tables of arms trained alike, this one among them: what training seeds differ by is then judged from
        all of them. From two seeds alone it is hardly known, and the interval says so.

    Raises
    ------
    ValueError
        If there are no questions.
    """
    _require_entries(table)
    value = float(table.mean())
    sizes, stderr = errors(table.mean(axis=1), 0.0, [table], seed, alike)
    half = within(sizes)
    return Interval(value, value - half, value + half, stderr, len(table), table.shape[1])


def share_interval(table: Table, seed: int, *, alike: Sequence[Table] = ()) -> Interval:
    """Return the mean of entries from 0 to 1, e.g. accuracy, with an interval that knows these bounds.

    A share near 0 or 1 has less room on that side, and its standard error is told by few questions. So it has
    Wilson's interval [1]_ for as many independent questions as would leave it as uncertain as these do, which
    is what surveys of clusters do [2]_; how many standard errors it reaches is the bootstrap's. When all
    questions agree it is Wilson's own: nothing solved out of ten does not prove that nothing can be.

    Parameters and errors are those of `mean_interval`.

    References
    ----------
    .. [1] Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22.
    .. [2] Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of
       positive counts estimated from survey data", Survey Methodology 24.
    """
    _require_entries(table)
    share, shares = float(table.mean()), table.mean(axis=1)
    # Questions that are all alike do not tell how unlike they can be: at most as right and wrong are.
    most = sqrt(max(0.0, share * (1 - share)))
    sizes, stderr = errors(shares, most, [table], seed, alike)
    if most > 0:
        reach = max(within(sizes) / stderr, share_reach(shares, seed))
        low, high = wilson(share, (most / stderr) ** 2, reach)
    else:
        low, high = wilson(share, float(len(table)), NormalDist().inv_cdf((1 + LEVEL) / 2))
        low, high = min(low, share - within(sizes)), max(high, share + within(sizes))
    return Interval(share, max(0.0, low), min(1.0, high), stderr, len(table), table.shape[1])


def paired_difference(after: Table, before: Table, seed: int, *, alike: Sequence[Table] = ()) -> Difference:
    """Return by how much `after` exceeds `before`, question by question, as if nothing else were compared.

    Both tables have the same questions in the same order; training seeds need not be as many. `alike` is as
    in `mean_interval`. The interval is symmetric about the difference: it reaches as far as 95 % of the
    resampled errors, whatever their sign [1]_. `p` is the share of them that are as large as the difference
    itself, so it is at most 0.05 exactly where the interval excludes zero.

    Raises
    ------
    ValueError
        If there are no questions, or not the same number of them.

    References
    ----------
    .. [1] Hall 1988, "On symmetric bootstrap confidence intervals", JRSS B 50.
    """
    _require_entries(after)
    _require_entries(before)
    if len(after) != len(before):
        raise ValueError(f"{len(after)} questions after and {len(before)} before; compare the same ones")
    value = float(after.mean() - before.mean())
    # Where every question differs by the same, the spread is taken about zero, as if arms were equal.
    sizes, stderr = errors(after.mean(axis=1) - before.mean(axis=1), abs(value), [after, before], seed, alike)
    half = within(sizes)
    # An end that is zero but for rounding is zero: a verdict must not hang on 3e-17.
    low, high = round(value - half, DIGITS), round(value + half, DIGITS)
    seeds = min(after.shape[1], before.shape[1])
    interval = Interval(value, low, high, stderr, len(after), seeds)
    p = float(1 + (sizes >= round(abs(value), DIGITS)).sum()) / (RESAMPLES + 1)
    return Difference(interval, p, p, smallest_visible_difference(interval))


def corrected(family: Sequence[Difference]) -> list[Difference]:
    """Correct the verdicts of a family of comparisons for one another: step-down after Holm [1]_.

    The smallest p is multiplied by the number of comparisons, the next by one less, and so on, never
    falling below one before. If nothing differs, 95 % of such families have no verdict but "cannot tell".
    Intervals stay as they are. The smallest visible difference becomes that of the first step, the hardest.

    References
    ----------
    .. [1] Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
       Statistics 6.
    """
    adjusted = holm([found.p for found in family])
    return [
        replace(found, p_holm=p, smallest_visible=smallest_visible_difference(found.interval, len(family)))
        for found, p in zip(family, adjusted, strict=True)
    ]


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for one another.

    Examples
    --------
    >>> holm([0.03, 0.01, 0.04])
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(ps, kind="stable")
    steps = np.maximum.accumulate(np.asarray(ps)[order] * np.arange(len(ps), 0, -1))
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted.tolist()


def smallest_visible_difference(observed: Interval, comparisons: int = 1) -> float:
    """Return the true difference that this design would tell from zero in 80 % of experiments.

    Half the interval that was observed, which is what a difference must exceed, and 0.84 standard errors
    more, so that it does so four times in five. The discordance of the arms, the number of questions and
    the seeds are all in them. Among several comparisons the half interval is that of the level that the
    first step of `holm` asks for. Where the arms differed on no question the error is unknown, not zero:
    then three questions out of `n` ("rule of three") is what may have been missed.

    Examples
    --------
    >>> round(smallest_visible_difference(Interval(0.1, 0.0, 0.2, stderr=0.05, n=100, seeds=1)), 3)
    0.142
    >>> smallest_visible_difference(Interval(0.0, 0.0, 0.0, stderr=0.0, n=100, seeds=1))
    0.03
    """
    if observed.stderr == 0:
        return (3 + log(comparisons)) / observed.n
    normal = NormalDist()
    stricter = normal.inv_cdf((1 - LEVEL) / 2 / comparisons) / normal.inv_cdf((1 - LEVEL) / 2)
    return (observed.high - observed.low) / 2 * stricter + normal.inv_cdf(POWER) * observed.stderr


def _require_entries(table: Table) -> None:
    if table.size == 0:
        raise ValueError("a mean over no questions; give at least one question and one training seed")
