"""Tables of outcomes and scores become one verdict a design: who predicts, how well, and what luck leaves."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from infra_core.errors import DataError
from infra_core.validity.curves import CURVE
from infra_core.validity.lds import Bank, Correlations

OUTCOMES = {
    "subset": pl.String(),
    "seed": pl.Int32(),
    "query_id": pl.String(),
    "group": pl.String(),
    "log_likelihood": pl.Float64(),  # nats, summed over the scored tokens of the query's response
    "exact": pl.Boolean(),  # the model, always taking the likeliest token, writes the same
}
"""What a model trained on a subset says of a query."""

SCORE_TABLE = {
    "example_id": pl.String(),
    "scores": pl.List(pl.Float64()),  # on each query of some f, in their order; more = more helpful
}
"""What a method says of a row."""

CONTRAST = "all with contrast"
"""The name of all subsets together that do not differ by chance alone."""


@dataclass(frozen=True)
class Verdict:
    """How well each method predicts the subsets of a design.

    Attributes
    ----------
    by_query
        By method, the mean over single queries.
    by_group
        By group of queries and method: of the group's mean log-likelihood, on which curation acts.
    accuracy
        By group and method: of the share of the group's queries that the model writes exactly.
    ceiling, group_ceilings, accuracy_ceilings
        One half of the training seeds against the other.
    exact
        By group, the share of queries written exactly, on average over models.
    """

    design: str
    by_query: dict[str, Correlations]
    by_group: dict[str, dict[str, Correlations]]
    accuracy: dict[str, dict[str, Correlations]]
    ceiling: Correlations
    group_ceilings: dict[str, Correlations]
    accuracy_ceilings: dict[str, Correlations]
    exact: dict[str, float]


def judge(
    outcomes: pl.DataFrame, subsets: pl.DataFrame, tables: Mapping[str, pl.DataFrame], seed: int
) -> list[Verdict]:
    """Judge every method on every design, and on all designs with contrast together.

    Parameters
    ----------
    outcomes
        Schema OUTCOMES, of every subset under the same seeds.
    subsets
        `subset`, `design`, `example_ids`.
    tables
        By method: schema SCORE_TABLE, queries in the order of the outcomes of one subset.
    seed
        Of the resampling.

    Raises
    ------
    DataError
        If a method has no score for a row that was trained on.
    """
    rows = sorted({name for ids in subsets["example_ids"] for name in ids})
    scores = {method: _aligned(method, table, rows) for method, table in tables.items()}
    designs = [
        (design, [design]) for design in subsets["design"].unique(maintain_order=True) if design != CURVE
    ]
    contrasts = [design for design, _ in designs if design != "random"]
    if len(contrasts) > 1:
        designs.append((CONTRAST, contrasts))
    return [
        _verdict(name, outcomes, subsets.filter(pl.col("design").is_in(among)), scores, (rows, seed))
        for name, among in designs
    ]


def _verdict(
    design: str,
    outcomes: pl.DataFrame,
    subsets: pl.DataFrame,
    scores: Mapping[str, np.ndarray],
    of: tuple[list[str], int],
) -> Verdict:
    rows, seed = of
    likely, exact = (_bank(outcomes, subsets, rows, column) for column in ("log_likelihood", "exact"))
    groups = list(dict.fromkeys(likely.groups))
    return Verdict(
        design=design,
        by_query={method: likely.judge(each, seed) for method, each in scores.items()},
        by_group={
            group: {method: likely.judge_group(group, each, seed) for method, each in scores.items()}
            for group in groups
        },
        accuracy={
            group: {method: exact.judge_group(group, each, seed) for method, each in scores.items()}
            for group in groups
        },
        ceiling=likely.ceiling(seed),
        group_ceilings={group: likely.ceiling(seed, group) for group in groups},
        accuracy_ceilings={group: exact.ceiling(seed, group) for group in groups},
        exact={group: float(exact.of_group(group).mean()) for group in groups},
    )


def _bank(outcomes: pl.DataFrame, subsets: pl.DataFrame, rows: list[str], column: str) -> Bank:
    """Lay outcomes out as subsets × seeds × queries, and membership as subsets × rows."""
    place = {name: number for number, name in enumerate(rows)}
    members = np.zeros((subsets.height, len(rows)), dtype=bool)
    for number, ids in enumerate(subsets["example_ids"].to_list()):
        members[number, [place[name] for name in ids]] = True
    order = subsets.select("subset").with_row_index("at")
    ours = outcomes.join(order, on="subset", how="inner").sort("at", "seed", maintain_order=True)
    seeds = ours["seed"].n_unique()
    shape = (subsets.height, seeds, -1)
    values = ours[column].cast(pl.Float64()).to_numpy().reshape(shape)
    return Bank(members, values, tuple(ours["group"].to_list()[: values.shape[2]]))


def _aligned(method: str, table: pl.DataFrame, rows: list[str]) -> np.ndarray:
    """Return scores rows × queries, in the order of `rows`.

    Raises
    ------
    DataError
        If there are none of a row.
    """
    known = table.unique("example_id", keep="first")
    found = pl.DataFrame({"example_id": rows}).join(known, on="example_id", how="left", maintain_order="left")
    missing = found.filter(pl.col("scores").is_null())["example_id"].to_list()
    if missing:
        raise DataError(
            f"scores of {method} have no row {missing[0]} ({len(missing)} of {len(rows)} are missing); score "
            "every row that the bank was trained on"
        )
    return np.array(found["scores"].to_list(), dtype=float)
