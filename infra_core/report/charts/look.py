"""How charts of a report look, and how they find their numbers."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from infra_core.report.figures import said
from infra_core.report.inputs import BANDS

Numbers = Mapping[str, Any]
"""The object in numbers.json."""

Chart = alt.Chart | alt.LayerChart | alt.FacetChart

# Okabe and Ito's colours, which people with any kind of colour blindness tell apart.
BLUE, ORANGE, SKY, AMBER, GREY = "#0072b2", "#d55e00", "#56b4e9", "#e69f00", "#8a8f98"
INK, LINE, PAPER = "#24292f", "#d8dee4", "#ffffff"  # of text, of axes, behind both; a dark page takes others
FONT = "Helvetica, Arial, sans-serif"
ORDER = [band or "unrated" for band in BANDS]
STEP = 22  # pixels a row
WIDTH = 270  # pixels a panel
SPACING = 36  # pixels between panels: half a label each
SIGNED_SHARE = "datum.value ? format(datum.value, '+.0%') : '0%'"
"""How an axis writes shares that may be below zero."""

_PLACES = (
    *("arm", "task", "domain", "band", "group", "source", "reason", "against", "behaviour"),
    *("token_class", "word", "rule", "attribute", "stratum", "variation"),
)


def figures_of(numbers: Numbers) -> pl.DataFrame:
    """Return the figures as a table, with every place as a column, and `said`: how the report shows them."""
    rows = [
        {
            **{place: figure.get(place) for place in _PLACES},
            **{key: figure[key] for key in ("metric", "value", "low", "high")},
            "said": said(figure),
        }
        for figure in numbers["figures"]
    ]
    kinds = {name: pl.Float64() for name in ("value", "low", "high")}
    texts = {name: pl.String() for name in (*_PLACES, "metric", "said")}
    return pl.DataFrame(rows, schema={**texts, **kinds}, strict=False)


def placed(figures: pl.DataFrame, metric: str, *about: str) -> pl.DataFrame:
    """Return figures of a metric that stand at exactly these places, in the order they were printed."""
    there = [pl.col(name).is_not_null() == (name in about) for name in _PLACES]
    return figures.filter(pl.col("metric") == metric, *there).select(*about, "value", "low", "high", "said")


def names(rows: pl.DataFrame, column: str) -> list[str]:
    """Return what a column holds, in its own order, as an axis is to be sorted."""
    return rows[column].unique(maintain_order=True).to_list()


def by_panel(chart: alt.LayerChart, rows: pl.DataFrame, column: str) -> Chart:
    """Return a chart once for every name in a column, in its own order, two panels beside each other."""
    panel = chart.properties(width=WIDTH, height=alt.Step(STEP))
    return panel.facet(
        facet=alt.Facet(f"{column}:N", title=None, sort=names(rows, column)), columns=2, spacing=SPACING
    )


def at_zero(rows: pl.DataFrame) -> alt.Chart:
    """Return a line at zero, over all labels of a panel."""
    return alt.Chart(rows).mark_rule(color=GREY, aria=False).encode(x=alt.X(datum=0))


def styled(chart: Chart) -> Chart:
    """Return a chart as all charts of the report look: no frame, quiet grid, text in one ink."""
    text = {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12}
    quiet = {"gridColor": LINE, "domainColor": LINE, "tickColor": LINE, "labelFlush": False, "tickCount": 5}
    return (
        chart
        .configure(background=PAPER, font=FONT, padding=6)
        .configure_view(stroke=None)
        .configure_axis(**text, **quiet, titleFontWeight="normal")
        .configure_legend(**text, titleFontWeight="normal", titleLimit=0)
        .configure_header(**text, titleFontWeight="normal", labelFontWeight="bold", labelAnchor="start")
    )
