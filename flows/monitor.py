"""What a finished run leaves on its page in the Prefect UI: report, tables, lineage, seconds and cost."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from flows.outcome import Outcome
from infra_core.report.markdown import escape
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore

Row = dict[str, Any]
SHOWN = (
    *("arm", "task", "domain", "band", "group", "source", "reason", "design", "method"),
    *("behaviour", "token_class", "word", "rule", "attribute", "stratum", "variation"),
)  # what a figure is about
DIGITS = 4
PLAIN = re.compile(r"[\w .,:/+-]*")
"""What Markdown leaves as it is, but where it begins a line."""
LISTED = re.compile(r"^(\d*)([-+.)=~])")
"""What begins a list, a line or a heading there."""

ATTRIBUTES = {
    "strata": (
        ("influence an example by response length", "influence a token by response length",
         "influence an example by perplexity", "influence a token by perplexity"),
        "Mean influence by fifths of response length and of perplexity, in nats.",
    ),
    "behaviours": (
        ("step influence", "step influence beyond place"),
        "Mean influence of a token by what its span does, in nats.",
    ),
    "tokens": (
        ("token influence", "token influence beyond place"),
        "Mean influence of a token by its class, in nats, under each token rule that was asked for.",
    ),
    "token-rules": (
        ("agreement of token rules",),
        "Rank correlation of the two token rules within a response.",
    ),
    "words": (("word influence",), "The most helpful and harmful words, shrunk, in nats a token."),
    "variations": (("influence varied",), "The same means with influence taken otherwise, in nats."),
}  # fmt: skip
"""Table of attributes → the metrics in it, and what is said of it."""


def show(result: Outcome, price_per_hour: float | None = None) -> None:
    """Create the run's artifacts. Each has a key, so that its page shows how it went from run to run."""
    if FlowRunContext.get() is None:
        return
    store, _ = ArtifactStore.of(result.report.uri)
    figures = json.loads(store.read(result.report, "numbers.json"))["figures"]
    tables = {
        "exam": (exam(figures), "Accuracy and likelihood by arm, with 95 % intervals."),
        "influence": (of(figures, "influence"), "Mean influence of an example by domain and band, in nats."),
        **{key: (of(figures, *metrics), told) for key, (metrics, told) in ATTRIBUTES.items()},
        "dropped": (dropped(figures), "Why rows were dropped, by source."),
        "validity": (validity(figures), "Rank correlation of predicted and actual outcomes of retraining."),
        "taken-away": (
            taken_away(figures),
            "What masking a label did to queries beside masking as much else, and what was foretold.",
        ),
        "stages": (
            stages(result, price_per_hour),
            "Every artifact of this run: seconds, cost, reused or built.",
        ),
    }
    for key, (rows, told) in tables.items():
        if not rows:  # a run of another flow, whose page has other tables
            continue
        create_table_artifact(
            table=[
                {name: as_cell(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
                for row in rows
            ],
            key=artifact_key(result.name, key),
            description=f"{told} More in {_for_ui(escape(result.report.uri))}",
        )
    pages = {
        "report": (store.read(result.report, "report.md").decode(), "The report."),
        "lineage": (lineage(store, result.report), "What the report was made from."),
    }
    for key, (markdown, told) in pages.items():
        create_markdown_artifact(
            markdown=_for_ui(markdown), key=artifact_key(result.name, key), description=told
        )
    links = {
        "report-file": (f"{result.report.uri}/report.md", "report.md in the store"),
        "store": (store.root, "the store"),
    }
    if result.page != links["report-file"][0]:  # the page of a validation is that text
        links["report-page"] = result.page, "the page in the store: download it to look"
    for key, (address, told) in links.items():
        create_link_artifact(
            link=quote(address, safe=":/"),
            link_text=_for_ui(escape(address)),
            key=artifact_key(result.name, key),
            description=told,
        )


def artifact_key(recipe: str, what: str) -> str:
    """Return a key as Prefect wants them: small letters, digits and dashes.

    Examples
    --------
    >>> artifact_key("Qwen7B_prune", "exam")
    'qwen7b-prune-exam'
    """
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in recipe.lower())
    return f"{kept.strip('-')}-{what}"


def exam(figures: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return accuracy and likelihood by arm and task, without the cuts by band and domain."""
    wanted = [
        figure
        for figure in figures
        if figure["metric"] in {"accuracy", "nll_per_token"} and not figure.get("band")
    ]
    return [_row(figure, "metric") for figure in wanted]


def of(figures: Iterable[Mapping[str, Any]], *metrics: str) -> list[Row]:
    """Return the figures of some metrics, a row each; which metric only where there are several."""
    more = ("metric",) if len(metrics) > 1 else ()
    return [_row(figure, *more) for figure in figures if figure["metric"] in metrics]


def validity(figures: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return how well each method predicts what retraining does, and the ceiling, by design and group."""
    return of(figures, "lds", "lds ceiling", "group lds", "group lds ceiling")


def taken_away(figures: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return what masking each label did against its control and other labels, and what was foretold."""
    metrics = {"taken away", "exact, taken away", "foretold"}
    return [_row(figure, "metric", "against") for figure in figures if figure["metric"] in metrics]


def dropped(figures: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return how many rows each source lost for each reason, and in all."""
    wanted = [figure for figure in figures if figure["metric"] == "rows dropped"]
    return [
        {"source": figure["source"], "reason": figure.get("reason", "all"), "rows": figure["value"]}
        for figure in wanted
    ]


def stages(result: Outcome, price_per_hour: float | None) -> list[Row]:
    """Return a line an artifact, inputs before what is made of them, and last the sums of the run."""
    lines = [
        (entry.stage, entry.label, "built" if entry.built else "reused", entry.seconds, entry.uri)
        for entry in result.stages
    ]
    built = sum(entry.seconds for entry in result.stages if entry.built)
    lines += [
        ("all that was built", "", "built", built, result.report.uri),
        ("the run", "", "", result.seconds, ""),
    ]
    return [
        {
            "stage": stage,
            "of": label,
            "state": state,
            "seconds": round(seconds, 1),
            **_cost(seconds, state, price_per_hour),
            "artifact": uri,
        }
        for stage, label, state, seconds, uri in lines
    ]


def lineage(store: ArtifactStore, report: Artifact) -> str:
    """Return the tree of what an artifact was made from, as nested Markdown."""
    lines = []
    for depth, found in ancestors(store, report):
        if isinstance(found, str):
            lines.append(f"{'  ' * depth}- {found}, no longer in the store")
            continue
        manifest = store.manifest(found)
        host = escape(manifest.provenance.get("hostname", "a host that is not known"))
        told = f"version {manifest.version}, {manifest.seconds:.1f} s on {host}"
        lines.append(f"{'  ' * depth}- **{found.stage}** `{found.key}` {told}")
    return "\n".join(lines)


def as_cell(text: str) -> str:
    r"""Return what shows as a text in a table of the UI, which takes cells for Markdown.

    Examples
    --------
    >>> [as_cell(text) for text in ("fit_factors", "-", "3. b", "a*b")]
    ['fit_factors', '\\-', '3\\. b', 'a\\*b']
    """
    kept = text if PLAIN.fullmatch(text) else _for_ui(escape(text))
    return LISTED.sub(r"\1\\\2", kept)


def _for_ui(markdown: str) -> str:
    """Return Markdown for the UI, to which entities by number are text and a backslash is an escape."""
    return re.sub(r"&#(\d+);", lambda found: f"\\{chr(int(found[1]))}", markdown)


def _row(figure: Mapping[str, Any], *more: str) -> Row:
    about = {name: figure[name] for name in (*SHOWN, *more) if figure.get(name) is not None}
    numbers = {name: figure.get(name) for name in ("value", "low", "high", "n", "seeds")}
    return about | {
        name: round(value, DIGITS) if isinstance(value, float) else value for name, value in numbers.items()
    }


def _cost(seconds: float, state: str, price_per_hour: float | None) -> Row:
    """Return what these seconds cost this run; what it reused was paid for before."""
    if price_per_hour is None:
        return {}
    return {"cost": 0.0 if state == "reused" else round(seconds / 3600 * price_per_hour, 2)}
