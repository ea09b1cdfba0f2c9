"""`write_page`: the report as one HTML file that needs no network, made of the other two and nothing else."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from infra_core.report.charts.drawn import Drawn
from infra_core.report.charts.influence import MEANS, STEPS, STRATA, TOKENS
from infra_core.report.charts.look import Numbers
from infra_core.report.figures import said
from infra_core.report.inputs import BASELINE
from infra_core.report.traces import Traces

SCRIPTS = ("page.js", "traces.js")

_PAGES = Environment(
    loader=PackageLoader("infra_core.report", "assets"),
    autoescape=True,  # whatever is not marked as made here shows as the text it is
    undefined=StrictUndefined,
    trim_blocks=True,
)


def write_page(
    markdown: str,
    numbers: Numbers,
    charts: Mapping[str, Drawn],
    stages: Sequence[Mapping[str, Any]],
    traces: Traces | None = None,
) -> str:
    """Return the page.

    Its policy lets run no script but those of this package, told by their hashes, and load nothing at all.

    Parameters
    ----------
    markdown, numbers
        What `build` returned.
    charts
        What `draw` and `draw_stages` made of numbers and stages, by name.
    stages
        Of everything that the report rests on: `stage`, `key`, `seconds`, `host`, and `depth` beneath the
        report.
    traces
        What the viewer shows; without it there is none.
    """
    head, *sections = re.split(r"^## ", markdown, flags=re.MULTILINE)
    asked = head.partition("\n")[2].partition("Decision:")[0]
    scripts = [_asset(name) for name in SCRIPTS]
    return _PAGES.get_template("page.html.j2").render(
        recipe=numbers["recipe"],
        head=_html(asked),
        decisions=[one | {"because": _inline(one["because"])} for one in numbers["decisions"]],
        baseline=BASELINE,
        **_arms(numbers),
        sections=[_section(text) for text in sections],
        charts={name: _markup(chart.svg) for name, chart in charts.items()},
        means=_switch(MEANS),
        steps=_switch(STEPS),
        strata=_switch(STRATA),
        tokens=_switch(TOKENS),
        stages=stages,
        traces=traces,
        css=_asset("page.css"),
        scripts=scripts,
        allowed=_markup(" ".join(map(_hashed, scripts))),
    )


def _switch(metrics: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names of charts that stand in one place, and what they are chosen by."""
    return [(metric.replace(" ", "_"), unit) for metric, unit in metrics.items()]


def _arms(numbers: Numbers) -> dict[str, Any]:
    """Return the tasks, and every arm's accuracy on each beside its verdict against the untouched corpus."""
    verdicts = {
        (one["arm"], one["task"]): one["verdict"]
        for one in numbers["comparisons"]
        if one["against"] == BASELINE and one["metric"] == "accuracy"
    }
    found: dict[str, dict[str, dict[str, str]]] = {}
    for figure in numbers["figures"]:
        if figure["metric"] == "accuracy" and "band" not in figure:
            arm, task = figure["arm"], figure["task"]
            value, _, interval = said(figure).partition(" [")
            cell = {"value": value, "interval": f"[{interval}", "verdict": verdicts.get((arm, task), "")}
            found.setdefault(arm, {})[task] = cell
    tasks = list(dict.fromkeys(task for cells in found.values() for task in cells))
    arms = [{"name": arm, "cells": [cells[task] for task in tasks]} for arm, cells in found.items()]
    return {"tasks": tasks, "arms": arms}


def _section(text: str) -> dict[str, Any]:
    title, _, body = text.partition("\n")
    return {"id": "-".join(title.lower().split()), "title": title, "body": _html(body)}


def _renderer() -> MarkdownIt:
    """Return what turns our Markdown into HTML: no tags and no links, which only foreign text could hold."""
    plain = MarkdownIt("commonmark", {"html": False}).enable("table")
    plain.disable(["link", "image", "autolink", "reference", "html_block", "html_inline"])
    rules: dict[str, Any] = plain.renderer.rules  # type: ignore[attr-defined]
    rules["table_open"] = lambda *_: '<div class="scroll"><table>'
    rules["table_close"] = lambda *_: "</table></div>"
    return plain


_MARKDOWN = _renderer()


def _markup(text: str) -> Markup:
    """Let text through as HTML: written or drawn here, or rendered with what is foreign escaped."""
    return Markup(text)  # noqa: S704


def _html(markdown: str) -> Markup:
    return _markup(_MARKDOWN.render(markdown))


def _inline(markdown: str) -> Markup:
    return _markup(_MARKDOWN.renderInline(markdown))


def _asset(name: str) -> Markup:
    return _markup(files("infra_core.report").joinpath("assets", name).read_text("utf-8"))


def _hashed(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
