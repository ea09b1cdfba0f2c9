"""Section on influence: which cells of the corpus teach, for each group of queries."""

from typing import Any

import polars as pl

from infra_core.evaluation.statistics import Interval
from infra_core.report.figures import Figures, Place
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code, table


def influence(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return mean influence of an example by query group, domain and band, within and across domains."""
    if inputs.cells.is_empty():
        return ["No scored example has a rating.", ""]
    lines = []
    all_sources = pl.col("source").is_null()
    for title, which in (
        ("On queries of the examples' own domain:", all_sources & ~pl.col("across")),
        ("On queries of other domains:", all_sources & pl.col("across")),
        ("By source, where a domain has several:", ~all_sources),
    ):
        found = inputs.cells.filter(which)
        if found.height:
            by_source = found["source"].is_not_null().any()
            lines += [title, "", *_table(found, figures, by_source=by_source)]
    told = inputs.cells.filter(all_sources, pl.col("low").is_not_null())
    clear = told.filter((pl.col("low") > 0) | (pl.col("high") < 0)).height
    sure = figures.count("cells whose interval excludes zero", clear)
    count = figures.count("cells", inputs.cells.filter(all_sources).height)
    return [*lines, f"{sure} of {count} cells exclude zero.{_scored_by(inputs)}", ""]


def _scored_by(inputs: ReportInputs) -> str:
    """Say which models scored, if it is not that at the end of training alone."""
    train = inputs.recipe.train
    if train.on_the_way is None:
        return ""
    shares = code(", ".join(f"{share:g}" for share in train.states))
    return f" A score is the mean of those by the model after these shares of its training: {shares}."


def _table(cells: pl.DataFrame, figures: Figures, *, by_source: bool) -> list[str]:
    rows = []
    for cell in cells.iter_rows(named=True):
        band = cell["band"] or "unrated"
        place = Place(group=cell["group"], domain=cell["domain"], band=band, source=cell["source"])
        rows.append([
            code(cell["group"]),
            code(cell["domain"]),
            band,
            *([code(cell["source"])] if by_source else []),
            figures.count("examples scored", cell["n_examples"], place),
            mean(figures, "influence", cell, "", place),
            mean(figures, "influence per token", cell, "_per_token", place),
            mean(figures, "influence at equal length", cell, "_equal_length", place),
        ])
    names = ["queries", "domain", "band", *(["source"] if by_source else [])]
    return table([*names, "examples", "an example", "a token", "at equal length"], rows, left=len(names))


def mean(figures: Figures, metric: str, cell: dict[str, Any], suffix: str, place: Place) -> str:
    """Return a mean of a cell with its interval over problems, where it has these."""
    value, low, high = (cell[f"{name}{suffix}"] for name in ("influence", "low", "high"))
    if value is None:
        return "–"
    if low is None or high is None:
        return figures.plain(metric, value, place, "nats")
    return figures.interval(metric, Interval(value, low, high, 0.0, cell["n_problems"], 1), place, "nats")
