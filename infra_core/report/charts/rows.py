"""Charts of rows: what mixtures are made of, and what became of what was read."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from infra_core.report.charts.look import (
    AMBER,
    BLUE,
    GREY,
    ORANGE,
    ORDER,
    SKY,
    SPACING,
    STEP,
    WIDTH,
    Chart,
    names,
    placed,
)

BANDS = dict(zip(ORDER, (SKY, BLUE, "#003f63", GREY), strict=True))
FATES = {
    "rows left": ("used", BLUE),
    "rows duplicate": ("duplicate", SKY),
    "rows contaminated": ("contaminated", ORANGE),
    "rows dropped": ("dropped", AMBER),
}
"""What can become of a row: its figure, its name and its colour."""


def mixtures(figures: pl.DataFrame) -> Chart | None:
    """Rows of each mixture by difficulty, a panel a domain."""
    rows = placed(figures, "rows in mixture", "arm", "domain", "band")
    if rows.is_empty():
        return None
    rank = pl.col("band").replace_strict({band: n for n, band in enumerate(ORDER)}, default=len(ORDER))
    table = rows.with_columns(
        rank=rank, told=pl.format("{}, {} {}: {} rows", "arm", "domain", "band", "said")
    )
    colour = alt.Color(
        "band:N",
        sort=ORDER,
        scale=alt.Scale(domain=ORDER, range=list(BANDS.values())),
        legend=alt.Legend(title="difficulty", orient="top"),
    )
    bars = (
        alt
        .Chart(table)
        .mark_bar()
        .encode(
            y=alt.Y("arm:N", sort=names(table, "arm"), title=None),
            x=alt.X("value:Q", title="rows", stack="zero"),
            color=colour,
            order="rank:Q",
            description="told:N",
        )
    )
    return _by_domain(bars)


def lengths(figures: pl.DataFrame) -> Chart | None:
    """Tokens a row of each mixture by domain: what its rule does to lengths."""
    about = ("arm", "domain", "band")
    rows, tokens = (placed(figures, f"{what} in mixture", *about) for what in ("rows", "tokens"))
    if rows.is_empty():
        return None
    both = rows.join(tokens.select(*about, tokens="value"), on=about, maintain_order="left")
    table = (
        both
        .group_by("arm", "domain", maintain_order=True)
        .agg(value=pl.col("tokens").sum() / pl.col("value").sum())
        .with_columns(told=pl.format("{}, {}: {} tokens a row", "arm", "domain", pl.col("value").round(1)))
    )
    bars = (
        alt
        .Chart(table)
        .mark_bar(color=BLUE)
        .encode(
            y=alt.Y("arm:N", sort=names(table, "arm"), title=None),
            x=alt.X("value:Q", title="tokens a row, prompt and response"),
            description="told:N",
        )
    )
    return _by_domain(bars)


def fates(figures: pl.DataFrame) -> Chart | None:
    """What became of the rows of every source: used, or why not."""
    found = [
        placed(figures, metric, "group", "source").with_columns(fate=pl.lit(name), rank=pl.lit(n))
        for n, (metric, (name, _)) in enumerate(FATES.items())
    ]
    table = pl.concat(found).with_columns(
        place=pl.format("{} ({})", "source", "group"),
        told=pl.format("{}: {} rows {}", "source", "said", "fate"),
    )
    if table.is_empty():
        return None
    fate_names, colours = zip(*FATES.values(), strict=True)
    colour = alt.Color(
        "fate:N",
        scale=alt.Scale(domain=list(fate_names), range=list(colours)),
        legend=alt.Legend(title=None, orient="top"),
    )
    bars = (
        alt
        .Chart(table)
        .mark_bar()
        .encode(
            y=alt.Y("place:N", sort=names(table, "place"), title=None, axis=alt.Axis(labelLimit=260)),
            x=alt.X("value:Q", title="rows read", stack="zero"),
            color=colour,
            order="rank:Q",
            description="told:N",
        )
    )
    return bars.properties(width=480, height=alt.Step(STEP))


def reasons(figures: pl.DataFrame) -> Chart | None:
    """Why cleaning dropped rows, the commonest reasons first."""
    table = placed(figures, "rows dropped", "source", "reason").with_columns(
        told=pl.format("{}, {}: {} rows", "source", "reason", "said")
    )
    if table.is_empty():
        return None
    bars = (
        alt
        .Chart(table)
        .mark_bar()
        .encode(
            y=alt.Y("reason:N", sort="-x", title=None, axis=alt.Axis(labelLimit=320)),
            x=alt.X("sum(value):Q", title="rows dropped"),
            color=alt.Color("source:N", legend=alt.Legend(orient="top", title=None)),
            description="told:N",
        )
    )
    return bars.properties(width=420, height=alt.Step(STEP))


def seconds(stages: Sequence[Mapping[str, Any]]) -> Chart:
    """Seconds of every stage, all its artifacts together, the longest first."""
    table = (
        pl
        .DataFrame(stages, schema_overrides={"seconds": pl.Float64()})
        .group_by("stage", maintain_order=True)
        .agg(pl.col("seconds").sum(), artifacts=pl.len())
        .with_columns(
            told=pl.format("{}: {} s, {} artifacts", "stage", pl.col("seconds").round(1), "artifacts")
        )
    )
    bars = (
        alt
        .Chart(table)
        .mark_bar(color=BLUE)
        .encode(
            y=alt.Y("stage:N", sort="-x", title=None),
            x=alt.X("seconds:Q", title="seconds, all artifacts of the stage together"),
            description="told:N",
        )
    )
    return bars.properties(width=480, height=alt.Step(STEP))


def _by_domain(bars: alt.Chart) -> Chart:
    panel = bars.properties(width=WIDTH, height=alt.Step(STEP))
    return panel.facet(facet=alt.Facet("domain:N", title=None), columns=2, spacing=SPACING)
