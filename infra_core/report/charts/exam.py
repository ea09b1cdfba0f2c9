"""Charts of the exam: arms, their differences, and where these came from."""

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
    SIGNED_SHARE,
    STEP,
    Chart,
    at_zero,
    by_panel,
    names,
    placed,
)
from infra_core.report.inputs import BASELINE

VERDICTS = {"better": BLUE, "cannot tell": GREY, "worse": ORANGE}


def accuracy(figures: pl.DataFrame) -> Chart | None:
    """Every arm's accuracy with its interval, a panel a task."""
    rows = placed(figures, "accuracy", "arm", "task")
    if rows.is_empty():
        return None
    base = alt.Chart(_told(rows)).encode(
        y=alt.Y("arm:N", sort=names(rows, "arm"), title=None),
        color=alt.Color("colour:N", scale=None),
        description="told:N",
    )
    axis = alt.Axis(format="%", title="accuracy, with 95 % interval")
    return by_panel(_with_intervals(base, axis), rows, "task")


def differences(comparisons: Sequence[Mapping[str, Any]], figures: pl.DataFrame) -> Chart | None:
    """Every difference in accuracy, and in grey what would be too small to be seen; a panel a task."""
    about = ("arm", "against", "task")
    rows = placed(figures, "accuracy difference", *about)
    if rows.is_empty():
        return None
    known = pl.DataFrame(
        [one for one in comparisons if one["metric"] == "accuracy"], infer_schema_length=None
    ).select(*about, "verdict", "smallest_visible_difference")
    table = rows.join(known, on=about, maintain_order="left").with_columns(
        pair=pl.format("{} − {}", "arm", "against"),
        unseen=-pl.col("smallest_visible_difference"),
        told=pl.format("{} against {} on {}: {}, {}", *about, "verdict", "said"),
    )
    names_axis = alt.Axis(labelLimit=320)
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=list(VERDICTS), range=list(VERDICTS.values())),
        legend=alt.Legend(title="verdict, corrected for all comparisons", orient="top"),
    )
    base = alt.Chart(table).encode(
        y=alt.Y("pair:N", sort=names(table, "pair"), title=None, axis=names_axis), description="told:N"
    )
    unseen = base.mark_bar(color=GREY, opacity=0.16, height=STEP - 8).encode(
        x="unseen:Q", x2="smallest_visible_difference:Q"
    )
    axis = alt.Axis(labelExpr=SIGNED_SHARE, title="difference in accuracy, with 95 % interval")
    shown = _with_intervals(base.encode(color=colour), axis)
    return by_panel(unseen + at_zero(table) + shown, table, "task")


def by_difficulty(figures: pl.DataFrame) -> Chart | None:
    """Accuracy by difficulty of the question, before and after: a column a band, a row a task."""
    rows = placed(figures, "accuracy", "arm", "task", "domain", "band")
    if rows.is_empty():
        return None
    base = alt.Chart(_told(rows)).encode(
        x=alt.X("arm:N", sort=names(rows, "arm"), title=None, axis=alt.Axis(labelAngle=-45, labelLimit=140)),
        color=alt.Color("colour:N", scale=None),
        description="told:N",
    )
    axis = alt.Axis(format="%", title="accuracy")
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", axis=axis), y2="high:Q")
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(y=alt.Y("value:Q", axis=axis))
    panel = (bars + dots).properties(width=alt.Step(18), height=110)
    return panel.facet(column=alt.Column("band:N", sort=ORDER, title=None), row=alt.Row("task:N", title=None))


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """Say of every arm what it came to, and set the untouched corpus off by colour."""
    untouched = pl.col("arm") == BASELINE
    return rows.with_columns(
        colour=pl.when(untouched).then(pl.lit(AMBER)).otherwise(pl.lit(BLUE)),
        told=pl.format("{} on {}: {}", "arm", "task", "said"),
    )


def _with_intervals(base: alt.Chart, axis: alt.Axis) -> alt.LayerChart:
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", axis=axis), x2="high:Q")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("value:Q", axis=axis))
    return bars + dots
