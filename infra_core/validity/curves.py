"""What leaving rows out does: the most helpful ones, the least helpful ones, and as many at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from infra_core.evaluation.statistics import Difference, paired_difference
from infra_core.seeds import generator
from infra_core.validity.designs import SUBSETS

CURVE = "curve"
"""The design of these subsets. They differ in size, so no rank correlation is over them."""

SIDES = ("top", "bottom")


@dataclass(frozen=True)
class LeftOut:
    """What it does to a group's log-likelihood to leave out the rows of one side in place of random ones.

    Attributes
    ----------
    gain
        Nats of a query, by query and training seed; negative if the rows that left had helped.
    """

    fraction: float
    group: str
    side: str
    gain: Difference


def leave_out(totals: pl.DataFrame, fractions: Sequence[float], seed: int) -> pl.DataFrame:
    """Return the subsets of the curve: for each fraction one without each side, and one without random rows.

    Parameters
    ----------
    totals
        `example_id` and `influence` on all groups together: see `designs.total_influence`.
    fractions
        Of the rows, that leave. Without the bottom nine tenths, one trains on the top tenth alone.
    seed
        Of the random ones.
    """
    ids = totals.sort("influence", "example_id")["example_id"].to_list()
    drawn = []
    for fraction in fractions:
        gone = min(len(ids) - 1, max(1, round(fraction * len(ids))))
        by_chance = generator(seed, CURVE, str(fraction)).permutation(len(ids))[gone:]
        for side, kept in {
            "top": ids[: len(ids) - gone],
            "bottom": ids[gone:],
            "random": [ids[place] for place in by_chance],
        }.items():
            drawn.append((subset_name(side, fraction), CURVE, sorted(kept)))
    return pl.DataFrame(drawn, schema=pl.Schema(SUBSETS), orient="row")


def subset_name(side: str, fraction: float) -> str:
    """Return the name of a subset of the curve.

    Examples
    --------
    >>> subset_name("top", 0.1)
    'top-0.1'
    """
    return f"{side}-{fraction:g}"


def left_out(outcomes: pl.DataFrame, fractions: Sequence[float], seed: int) -> list[LeftOut]:
    """Return what leaving out either side does, against as many random rows, by group of queries.

    Parameters
    ----------
    outcomes
        Schema OUTCOMES, with those of the subsets of `leave_out`.
    fractions
        As given there.
    seed
        Of the intervals, over queries and training seeds.
    """
    found = []
    for (group,), ours in outcomes.group_by("group", maintain_order=True):
        for fraction in fractions:
            at_random = outcome_table(ours, subset_name("random", fraction))
            for side in SIDES:
                gain = paired_difference(outcome_table(ours, subset_name(side, fraction)), at_random, seed)
                found.append(LeftOut(fraction, str(group), side, gain))
    return found


def outcome_table(outcomes: pl.DataFrame, subset: str, column: str = "log_likelihood") -> np.ndarray:
    """Return what the models of a subset say of one group's queries, queries × seeds."""
    here = outcomes.filter(pl.col("subset") == subset).sort("seed", maintain_order=True)
    values = here[column].cast(pl.Float64()).to_numpy()
    return values.reshape(here["seed"].n_unique(), -1).T
