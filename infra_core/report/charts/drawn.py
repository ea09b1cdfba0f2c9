"""All charts of a report, as vector graphics and as pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from infra_core.report.charts import exam, influence, rows
from infra_core.report.charts.look import Chart, Numbers, figures_of, styled

SCALE = 2  # of pictures: dots a pixel

_VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


@dataclass(frozen=True)
class Drawn:
    """A chart as SVG, which a page can show without any script. Its ids are its own."""

    name: str
    svg: str

    def png(self) -> bytes:
        """Return it as a picture."""
        return vl_convert.svg_to_png(self.svg, scale=SCALE)


def draw(numbers: Numbers) -> dict[str, Drawn]:
    """Draw every chart that these numbers have something for, by name."""
    # Else every piece is held against Vega-Lite's schema as it is made, which takes longer than drawing; the
    # tests hold whole charts against it.
    with debug_mode(False):
        return {name: drawn(name, chart) for name, chart in charts_of(numbers).items()}


def charts_of(numbers: Numbers) -> dict[str, Chart]:
    """Return every chart that these numbers have something for, by name, in the look of all."""
    figures = figures_of(numbers)
    charts: dict[str, Chart | None] = {
        "accuracy": exam.accuracy(figures),
        "differences": exam.differences(numbers["comparisons"], figures),
        "accuracy_by_difficulty": exam.by_difficulty(figures),
        **{metric.replace(" ", "_"): influence.cells(figures, metric) for metric in influence.MEANS},
        **{
            metric.replace(" ", "_"): influence.means(figures, metric, unit, *label)
            for metrics, label in (
                (influence.STRATA, ("attribute", "stratum")),
                (influence.STEPS, ("behaviour",)),
                (influence.TOKENS, ("token_class",)),
            )
            for metric, unit in metrics.items()
        },
        "mixtures": rows.mixtures(figures),
        "lengths": rows.lengths(figures),
        "fates": rows.fates(figures),
        "reasons": rows.reasons(figures),
    }
    return {name: styled(chart) for name, chart in charts.items() if chart is not None}


def draw_stages(stages: Sequence[Mapping[str, Any]]) -> Drawn:
    """Draw the seconds of every stage, all its artifacts together."""
    with debug_mode(False):
        return drawn("seconds", styled(rows.seconds(stages)))


def drawn(name: str, chart: Chart) -> Drawn:
    """Draw a chart. The same chart gives the same bytes."""
    svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=False), vl_version=_VERSION)
    known: dict[str, str] = {}

    def own(found: re.Match[str]) -> str:
        return found[1] + known.setdefault(found[2], f"{name}-{len(known)}")

    # Ids are counted through the life of the process, and several drawings stand in one page.
    return Drawn(name, re.sub(r'(\bid="|url\(#)([^")]+)', own, svg))
