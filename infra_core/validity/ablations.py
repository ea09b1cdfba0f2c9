"""What taking a label away does, behaviours of spans or classes of words, and what scores had foretold."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import polars as pl

from infra_core.corpus import TokenizedExample
from infra_core.evaluation.statistics import Interval, mean_interval, told_apart
from infra_core.recipe.mixture import is_behaviour
from infra_core.validity.curves import outcome_table

ABLATED = "ablated"
"""What all trainings without a label, and of their controls, derive their seeds by."""

MASKED, CONTROL = "masked", "control"
"""The two mixtures of a label: without it in the loss, and without as much else of the same rows."""

MASKS = {
    "example_id": pl.String(),
    "at": pl.List(pl.Int32()),  # the tokens of the row, prompt counted, that are masked
}

CHANGES = {
    "example_id": pl.String(),
    "group": pl.String(),  # of queries
    "change": pl.Float64(),  # nats: minus the influence of what is masked, and that of the control added
}

Sign = Literal["agrees", "contrary", "cannot tell"]


@dataclass(frozen=True)
class Mask:
    """How much of a label is masked, and how much by its control; no rows: there is none that may be."""

    label: str
    rows: int
    tokens: int
    control_tokens: int


@dataclass(frozen=True)
class TakenAway:
    """What it does to a group's queries to mask a label in place of as much else.

    Attributes
    ----------
    likely
        Nats of a query, over queries and training seeds; negative if what was masked had helped.
    exact
        Share of queries written exactly, likewise.
    foretold
        By token rule: nats of a query, over problems of the corpus; none where no masked row was scored.
    """

    label: str
    group: str
    likely: Interval
    exact: Interval
    foretold: Mapping[str, Interval]


@dataclass(frozen=True)
class Among:
    """What it does to queries whose own response has the label, and to the others; None of fewer than two."""

    label: str
    group: str
    having: Interval | None
    others: Interval | None


@dataclass(frozen=True)
class Apart:
    """By how many nats a query loses less, or gains more, without one label than without another."""

    label: str
    against: str
    group: str
    likely: Interval


@dataclass(frozen=True)
class Ablations:
    """All that was found by masking labels."""

    masks: Sequence[Mask]
    found: Sequence[TakenAway]
    among: Sequence[Among]
    apart: Sequence[Apart]


def mixture_name(label: str, kind: str) -> str:
    """Return what outcomes of a mixture go by, where others have the name of a subset.

    Examples
    --------
    >>> mixture_name("exploration", CONTROL)
    'exploration-control'
    """
    return f"{label}-{kind}"


def masks(examples: Iterable[TokenizedExample]) -> pl.DataFrame:
    """Return which tokens of responses are no targets: schema MASKS, of rows that have some."""
    found = []
    for example in examples:
        first = example.spans[0].stop  # behind the prompt, which never counts
        at = (~example.scored[first:]).nonzero().flatten() + first
        if len(at):
            found.append((example.example_id, at.tolist()))
    return pl.DataFrame(found, schema=pl.Schema(MASKS), orient="row")


def changes(masked: pl.DataFrame, control: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Return what scores foretell of each row that is masked, of one part: schema CHANGES.

    Parameters
    ----------
    masked, control
        Schema MASKS.
    scores
        `example_id`, `group` and `tokens` of SCORES.
    """
    once = scores.unique(["example_id", "group"], keep="first", maintain_order=True)
    frames = [
        once.join(mask, on="example_id", how="inner", maintain_order="left").select(
            "example_id",
            "group",
            change=sign * pl.col("tokens").cast(pl.List(pl.Float64())).list.gather(pl.col("at")).list.sum(),
        )
        for sign, mask in ((-1.0, masked), (1.0, control))
    ]
    return pl.concat(frames).group_by("example_id", "group", maintain_order=True).agg(pl.col("change").sum())


def foretold(found: pl.DataFrame, rows: pl.DataFrame, seed: int) -> dict[str, Interval]:
    """Return the change of each group's mean log-likelihood that influence predicts, in nats of a query.

    Influence is the rate at which a query moves with the weight of a row in the mean loss, where each of n
    rows weighs 1/n: so it is the mean over rows.

    Parameters
    ----------
    found
        Schema CHANGES, of all parts.
    rows
        `example_id` and `problem` of all rows that are trained on, masked or not.
    seed
        Of the intervals, over problems.
    """
    once = found.unique(["example_id", "group"], keep="first", maintain_order=True)
    told = {}
    for (group,), own in once.group_by("group", maintain_order=True):
        sums = (
            rows
            .join(own, on="example_id", how="left", maintain_order="left")
            .group_by("problem", maintain_order=True)
            .agg(pl.col("change").fill_null(0.0).sum())
        )
        # Times problems a row, so that the mean over problems is the sum by rows.
        by_problem = sums["change"].to_numpy() * (sums.height / rows.height)
        told[str(group)] = mean_interval(by_problem[:, None], seed)
    return told


def taken_away(
    outcomes: pl.DataFrame, foretold_by: Mapping[str, Mapping[str, Mapping[str, Interval]]], seed: int
) -> list[TakenAway]:
    """Return what masking each label does, beside what was foretold, by group of queries.

    Both mixtures of a label are trained with the same seeds, so differences are paired by query and seed. How
    much these vary from seed to seed is judged from all labels together.

    Parameters
    ----------
    outcomes
        Schema OUTCOMES, with those of the mixtures.
    foretold_by
        By label, token rule and group.
    seed
        Of the intervals.
    """
    found = []
    for (group,), ours in outcomes.group_by("group", maintain_order=True):
        likely, exact = (
            {label: _gain(ours, label, column) for label in foretold_by}
            for column in ("log_likelihood", "exact")
        )
        for label, rules in foretold_by.items():
            found.append(
                TakenAway(
                    label=label,
                    group=str(group),
                    likely=mean_interval(likely[label], seed, alike=[*likely.values()]),
                    exact=mean_interval(exact[label], seed, alike=[*exact.values()]),
                    foretold={rule: told[str(group)] for rule, told in rules.items() if str(group) in told},
                )
            )
    return found


def among(outcomes: pl.DataFrame, having: Mapping[str, Collection[str]], seed: int) -> list[Among]:
    """Return what masking a label does to the likelihood of responses that have it, and of those that do not.

    A model that never learnt to go on after the answer finds responses that do so less likely, whatever that
    does to the others.

    Parameters
    ----------
    outcomes
        Schema OUTCOMES, with those of the mixtures.
    having
        By label the `query_id` of those queries.
    seed
        Of the intervals.
    """
    found = []
    for (group,), ours in outcomes.group_by("group", maintain_order=True):
        for label, ids in having.items():
            has_it = pl.col("query_id").is_in(list(ids))
            told = [
                None
                if part["query_id"].n_unique() < 2
                else mean_interval(_gain(part, label, "log_likelihood"), seed)
                for part in (ours.filter(has_it), ours.filter(~has_it))
            ]
            found.append(Among(label, str(group), *told))
    return found


def apart(outcomes: pl.DataFrame, labels: Sequence[str], seed: int) -> list[Apart]:
    """Return the differences of any two labels of spans, and of any two of words, each beside its control."""
    pairs = [
        (first, second)
        for first, second in combinations(labels, 2)
        if is_behaviour(first) == is_behaviour(second)
    ]
    found = []
    for (group,), ours in outcomes.group_by("group", maintain_order=True):
        gains = {label: _gain(ours, label, "log_likelihood") for label in labels}
        tables = {(first, second): gains[first] - gains[second] for first, second in pairs}
        for (first, second), table in tables.items():
            likely = mean_interval(table, seed, alike=[*tables.values()])
            found.append(Apart(first, second, str(group), likely))
    return found


def sign(measured: Interval, predicted: Interval) -> Sign:
    """Return whether a change went the way that was foretold, where both are clear."""
    went, was_told = told_apart(measured), told_apart(predicted)
    if "cannot tell" in (went, was_told):
        return "cannot tell"
    return "agrees" if went == was_told else "contrary"


def _gain(outcomes: pl.DataFrame, label: str, column: str) -> np.ndarray:
    """Return by how much a label's models are above those of its control, queries × seeds."""
    masked, control = (
        outcome_table(outcomes, mixture_name(label, kind), column) for kind in (MASKED, CONTROL)
    )
    return masked - control
