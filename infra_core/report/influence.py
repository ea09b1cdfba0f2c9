"""Section on influence: which cells of the corpus teach, for each group of queries."""

from typing import Any

import polars as pl

from infra_core.evaluation.statistics import Interval
from infra_core.report.figures import Figures, Place
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code, table


def influence(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return mean influence of an example by query group, domain and band."""
    if inputs.cells.is_empty():
        return ["No scored example has a rating.", ""]
    rows = []
    for cell in inputs.cells.iter_rows(named=True):
        band = cell["band"] or "unrated"
        place = Place(group=cell["group"], domain=cell["domain"], band=band)
        rows.append([
            code(cell["group"]),
            code(cell["domain"]),
            band,
            figures.count("examples scored", cell["n_examples"], place),
            _mean(figures, "influence", cell, "", place),
            _mean(figures, "influence per token", cell, "_per_token", place),
        ])
    lines = table(["queries", "domain", "band", "examples", "an example", "a token"], rows, left=3)
    told = inputs.cells.filter(pl.col("low").is_not_null())
    clear = told.filter((pl.col("low") > 0) | (pl.col("high") < 0)).height
    sure = figures.count("cells whose interval excludes zero", clear)
    return [*lines, f"{sure} of {figures.count('cells', inputs.cells.height)} cells exclude zero.", ""]


def _mean(figures: Figures, metric: str, cell: dict[str, Any], suffix: str, place: Place) -> str:
    value, low, high = (cell[f"{name}{suffix}"] for name in ("influence", "low", "high"))
    if value is None:
        return "–"
    if low is None or high is None:
        return figures.plain(metric, value, place, "nats")
    return figures.interval(metric, Interval(value, low, high, 0.0, cell["n_problems"], 1), place, "nats")
