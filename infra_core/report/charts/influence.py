"""Charts of influence: which cells of the corpus teach."""

import altair as alt
import polars as pl

from infra_core.attributes.places import clear_sign
from infra_core.attributes.strata import LENGTH, PERPLEXITY
from infra_core.report.charts.look import (
    BLUE,
    GREY,
    ORANGE,
    ORDER,
    SIGNED_SHARE,
    Chart,
    at_zero,
    by_panel,
    names,
    placed,
)

MEANS = {
    "influence": "nats an example",
    "influence per token": "nats a scored token",
    "influence at equal length": "nats an example at equal length",
}
"""Means of a cell, and what they are in."""


def cells(figures: pl.DataFrame, metric: str) -> Chart | None:
    """Mean influence by domain, difficulty and query group, as a heat map with its numbers.

    Colour is relative to the strongest cell of the group, since groups differ in scale; a number in bold has
    an interval that excludes zero.
    """
    rows = placed(figures, metric, "domain", "band", "group")
    if rows.is_empty():
        return None
    strongest = pl.col("value").abs().max().over("group")
    table = rows.with_columns(
        strength=(pl.col("value") / strongest).fill_nan(0.0),
        clear=((pl.col("low") > 0) | (pl.col("high") < 0)).fill_null(value=False),
        text=pl.Series(map(_short, rows["value"]), dtype=pl.String()),
        told=pl.format("{} {} on {}: {} {}", "domain", "band", "group", "said", pl.lit(MEANS[metric])),
    )
    base = alt.Chart(table).encode(
        x=alt.X("band:N", sort=ORDER, title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("domain:N", title=None),
        description="told:N",
    )
    colour = alt.Color(
        "strength:Q",
        scale=alt.Scale(domain=[-1, 0, 1], range=[ORANGE, "#f7f7f7", BLUE]),
        legend=alt.Legend(
            title=["of the group's", "strongest cell", "(− harms, + helps)"],
            gradientLength=90,
            labelExpr=SIGNED_SHARE,
        ),
    )
    boxes = base.mark_rect(stroke="white", strokeWidth=2).encode(color=colour)
    ink = alt.condition("abs(datum.strength) > 0.6", alt.value("white"), alt.value("#1b1b1b"))
    clear = base.transform_filter("datum.clear").mark_text(fontSize=12, fontWeight="bold")
    unclear = base.transform_filter("!datum.clear").mark_text(fontSize=12, fontStyle="italic")
    layers = boxes + clear.encode(text="text:N", color=ink) + unclear.encode(text="text:N", color=ink)
    title = f"influence on queries, {MEANS[metric]}; bold where the interval excludes zero"
    panel = layers.properties(width=alt.Step(72), height=alt.Step(34))
    columns = 3 if len(names(table, "group")) % 2 else 2  # an empty place would have axes
    return panel.facet(facet=alt.Facet("group:N", title=title), columns=columns)


def _short(value: float) -> str:
    """Write a number with its sign in as few letters as a cell has room for."""
    text = f"{value:+.0f}" if abs(value) >= 10 else f"{value:+.2g}"
    return text.replace("-", "−")


STRATA = {
    f"influence {unit} by {attribute}": f"nats {unit}, by {attribute}"
    for attribute in (LENGTH, PERPLEXITY)
    for unit in ("a token", "an example")
}
STEPS = {
    "step influence": "nats a token",
    "step influence beyond place": "nats a token, beyond all spans at the same place",
}
TOKENS = {
    "token influence": "nats a token",
    "token influence beyond place": "nats a token, beyond all tokens at the same place",
}
"""Means of fifths, of behaviours and of classes of tokens, and what they are in."""


def means(figures: pl.DataFrame, metric: str, unit: str, *label: str) -> Chart | None:
    """Mean influence by a label with its interval, a panel a domain and query group.

    Blue and orange have an interval that excludes zero. The last of `label` names the column; what else
    figures are about is before it.
    """
    rows = placed(figures, metric, "domain", "group", *label)
    if rows.is_empty():
        return None
    sign = clear_sign("low", "high")
    named = rows.with_columns(name=pl.col(label[-1]).str.replace_all("_", " "))
    table = named.with_columns(
        panel=pl.format("{} on {}", "domain", "group"),
        colour=sign.replace_strict({1: BLUE, -1: ORANGE, 0: GREY}),
        told=pl.format(f"{{}} of {{}} on {{}}: {{}} {unit}", "name", "domain", "group", "said"),
    )
    base = alt.Chart(table).encode(
        y=alt.Y("name:N", sort=names(table, "name"), title=None),
        color=alt.Color("colour:N", scale=None),
        description="told:N",
    )
    axis = alt.Axis(title=f"influence, {unit}", grid=True)
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", axis=axis), x2="high:Q")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("value:Q", axis=axis))
    # Groups differ in scale, and each domain has labels of its own.
    return by_panel(at_zero(table) + bars + dots, table, "panel").resolve_scale(
        x="independent", y="independent"
    )
