"""Which rows each retraining gets: subsets of one size, by chance alone or with contrast between them."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from infra_core.errors import RequestError
from infra_core.recipe.validity import DESIGNS, Design
from infra_core.seeds import generator

SUBSETS = {
    "subset": pl.String(),  # e.g. random-003
    "design": pl.String(),
    "example_ids": pl.List(pl.String()),
}

ROWS = {
    "example_id": pl.String(),
    "domain": pl.String(),
    "source": pl.String(),
    "band": pl.String(),  # easy | medium | hard | null
    "influence": pl.String(),  # the quarter that its influence is in
}
"""What designs look at: of each row one level an attribute."""

QUARTERS = 4


def draw_subsets(
    rows: pl.DataFrame, counts: Mapping[Design, int], fraction: float, seed: int
) -> pl.DataFrame:
    """Return the subsets of every design: schema SUBSETS.

    All have the same number of rows, so that none wins by being larger. Under ``random`` every row is as
    likely to be in as any other. A design with contrast gives each level of its attribute a weight of its own
    for each subset, exponentially distributed, and draws rows by these: some subsets have hardly any row of
    a level, some have most of them.

    Parameters
    ----------
    rows
        Schema ROWS, each `example_id` once.
    counts
        Subsets by design. The first of them are the same however many are asked for.
    fraction
        Of the rows that a subset has.
    seed
        Of the draw.

    Raises
    ------
    RequestError
        If a subset would hold none or all of the rows, or the rows are alike in what a design differs by.
    """
    size = round(rows.height * fraction)
    if not 0 < size < rows.height:
        raise RequestError(
            f"validity.fraction {fraction} of {rows.height} rows is {size}; a subset needs some rows, not all"
        )
    drawn = []
    for design in DESIGNS:  # whatever the order of a recipe, which is no part of its identity
        count = counts.get(design, 0)
        levels = _levels(rows, design) if count else np.zeros(0, dtype=int)
        for number in range(count):
            chosen = _draw(levels, size, generator(seed, design, number))
            drawn.append((f"{design}-{number:03d}", design, rows["example_id"].gather(chosen).to_list()))
    return pl.DataFrame(drawn, schema=pl.Schema(SUBSETS), orient="row")


def total_influence(scores: pl.DataFrame) -> pl.DataFrame:
    """Return `example_id` and its `influence` on all groups together, least helpful first.

    Parameters
    ----------
    scores
        `example_id`, `group`, `influence`. Groups count alike: each is divided by its root mean square.
    """
    return (
        scores
        .unique(["example_id", "group"], keep="first")
        .with_columns(pl.col("influence") / pl.col("influence").pow(2).mean().sqrt().over("group"))
        .group_by("example_id")
        .agg(pl.col("influence").sum())
        .sort("influence", "example_id")
    )


def quarters(totals: pl.DataFrame) -> pl.DataFrame:
    """Return the quarter of the rows, q1 to q4 = most helpful, that each is in by its total influence."""
    place = pl.int_range(pl.len()) * QUARTERS // pl.len() + 1
    return totals.sort("influence", "example_id").select(
        "example_id", influence=pl.concat_str(pl.lit("q"), place)
    )


def _levels(rows: pl.DataFrame, design: Design) -> np.ndarray:
    """Return of each row the number of its level; rows of unknown level are of a level of their own.

    Raises
    ------
    RequestError
        If there is but one level.
    """
    if design == "random":
        return np.zeros(rows.height, dtype=int)
    names, numbers = np.unique(rows[design].fill_null("unknown").to_numpy(), return_inverse=True)
    if len(names) < 2:
        raise RequestError(
            f"validity.subsets asks for contrast by {design}, and all {rows.height} rows are {names[0]!r}; "
            "leave that design out"
        )
    return numbers


def _draw(levels: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Return the places of `size` rows, drawn one after the other by the weights of their levels."""
    weights = random.exponential(size=levels.max() + 1)
    # Efraimidis and Spirakis 2006: the largest u^(1/w) are a weighted draw without replacement.
    keys = np.log(random.random(len(levels))) / weights[levels]
    return np.sort(np.argsort(-keys, kind="stable")[:size])
