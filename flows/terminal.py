"""What the `infra` command prints for people. Everything machine-readable is elsewhere."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.answers import Answers
from flows.monitor import exam, validity
from flows.outcome import Outcome
from flows.plan import plan_line
from flows.retention import Collected
from flows.show import print_corpus, print_mixture
from infra_core.planning.cost import Plan
from infra_core.planning.memory import StageBytes
from infra_core.store.lineage import ancestors
from infra_core.store.retention import Folder
from infra_core.store.store import ArtifactStore

console = Console(highlight=False)

VIEWS = {"ingest": print_corpus, "mix": print_mixture}
"""Stages whose output has a view of its own."""


def print_result(result: Outcome | Answers) -> None:
    """Print what a flow came to."""
    if isinstance(result, Answers):
        print_answers(result)
    else:
        print_outcome(result)


def print_answers(answers: Answers) -> None:
    """Print the most helpful and most harmful examples of each group, and how well the index finds them."""
    told = answers.told
    shown = Table("group", "side", "example", "influence", "by the index", title="exact influence, nats")
    for group, side, example, influence, indexed, error in answers.led.iter_rows():
        found = f"{indexed:+.3g} ± {error:.2g}"
        shown.add_row(escape(group), side, escape(example), f"{influence:+.3g}", found)
    console.print(shown)
    trust = Table("group", "side", f"of the best {told['best']}, found", title="how well the index finds")
    for row in told["overlap"]:
        trust.add_row(escape(row["group"]), row["side"], f"{row['overlap']:.0%}")
    for row in told["agreement"]:
        ranks = f"Spearman {row['spearman']:.3f}, n {row['n']}" if row["spearman"] is not None else ""
        trust.add_row(escape(row["group"]), "random rows", ranks)
    console.print(trust)
    console.print(f"{told['rows']:,} rows; answers: {escape(answers.artifact.uri)}", soft_wrap=True)


def print_outcome(result: Outcome) -> None:
    """Print seconds per stage, the exam by arm, and where the report is."""
    stages = Table("stage", "", "seconds", "artifact", title="stages")
    for entry in result.stages:
        how = "built" if entry.built else "reused"
        stages.add_row(entry.stage, how, f"{entry.seconds:.1f}" if entry.built else "", escape(entry.uri))
    console.print(stages)
    _print_numbers(result)
    reused = len(result.stages) - result.built
    console.print(f"{result.built} built, {reused} reused, {result.seconds:.0f} s")
    console.print(f"report: {escape(result.page)}", soft_wrap=True)


def _print_numbers(result: Outcome) -> None:
    store = ArtifactStore(result.report.uri.rsplit("/", 2)[0])
    figures = json.loads(store.read(result.report, "numbers.json"))["figures"]
    if result.report.stage == "assess":
        _print_figures("rank correlations", validity(figures), ("metric", "group", "design", "method"))
    else:
        _print_figures("exam", exam(figures), ("arm", "task", "metric"))


def _print_figures(title: str, rows: Sequence[Mapping[str, Any]], about: Sequence[str]) -> None:
    shown = Table(*about, "value", "95 % interval", "n", "seeds", title=title)
    for row in rows:
        interval = f"{row['low']:.3f} … {row['high']:.3f}"
        names = [str(row.get(name, "")) for name in about]
        shown.add_row(*names, f"{row['value']:.3f}", interval, str(row["n"]), str(row["seeds"]))
    console.print(shown)


def print_lineage(uri: str) -> None:
    """Print an artifact and, below it, what it was made from, newest first."""
    store, artifact = ArtifactStore.of(uri)
    for depth, found in ancestors(store, artifact):
        if isinstance(found, str):
            console.print(f"{'  ' * depth}{found}  no longer in the store")
            continue
        manifest = store.manifest(found)
        line = f"{found.stage} [bold]{found.key}[/] v{manifest.version}  {escape(found.uri)}"
        console.print(f"{'  ' * depth}{line}", soft_wrap=True)


def print_artifact(uri: str) -> None:
    """Print an artifact's manifest, and what it holds: a view of a corpus or mixture, else the first rows."""
    store, artifact = ArtifactStore.of(uri)
    manifest = store.manifest(artifact)
    console.print(f"{manifest.stage} {manifest.key} v{manifest.version}, {manifest.seconds:.1f} s to build")
    console.print_json(json.dumps(manifest.params))
    parts = Table("part", "bytes", "sha256")
    for name, part in manifest.parts.items():
        parts.add_row(escape(name), f"{part['bytes']:,}", part["sha256"][:16])
    console.print(parts)
    if manifest.stage in VIEWS:
        VIEWS[manifest.stage](console, store, artifact)
        return
    for name in store.parts(artifact, "*.parquet")[:5]:
        frame = pl.read_parquet(store.read(artifact, name))
        console.print(f"{escape(name)}: {frame.height:,} rows", style="bold")
        console.print(escape(str(frame.head(5))))


def print_collected(found: Collected) -> None:
    """Print what is kept and, stage by stage, what is not."""
    for folder in found.kept:
        console.print(f"kept: {escape(folder.home)}")
    going = Table("stage", "artifacts", "unfinished", "files", "GB", title="needed by none of them")
    for stage in sorted({folder.stage for folder in found.goes}):
        these = [folder for folder in found.goes if folder.stage == stage]
        unfinished = sum(folder.manifest is None for folder in these)
        files, weight = sum(folder.files for folder in these), _weight(these)
        going.add_row(escape(stage), str(len(these) - unfinished), str(unfinished), f"{files:,}", weight)
    console.print(going)
    done = "removed" if found.removed else "would be removed, with --yes"
    console.print(f"{len(found.stays)} folders stay, {len(found.goes)} ({_weight(found.goes)} GB) {done}")


def _weight(folders: Iterable[Folder]) -> str:
    return f"{sum(folder.bytes for folder in folders) / 1e9:.3f}"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f}" if count else ""


def print_plan(planned: Plan) -> None:
    """Print what each stage holds, moves and takes, and whether it fits."""
    memory = Table("stage", "peak", "of what", title="GB on a device, at most at once")
    work = Table(
        "stage", "turns", "passes", "GB read", "GB written", "GB of scratch", "seconds", title="plan"
    )
    for column in (memory.columns[0], work.columns[0]):
        column.no_wrap = True
    for stage in planned.stages:
        held = {field.name: getattr(stage.held, field.name) for field in fields(StageBytes)}
        told = (f"{kind} {_gigabytes(count)}" for kind, count in held.items() if count)
        memory.add_row(stage.stage, _gigabytes(stage.peak_bytes), ", ".join(told))
        moved = stage.traffic
        work.add_row(
            stage.stage, str(stage.partitions), str(stage.passes),
            *map(_gigabytes, (moved.read, moved.written, moved.scratch)), f"{stage.seconds:,.0f}",
        )  # fmt: skip
    console.print(memory, work)
    factors = planned.factors
    covariance, eigenvalues = factors.covariance / 1e9, factors.eigenvalues / 1e9
    console.print(f"factors: covariances {covariance:.2f} GB, eigenvalues {eigenvalues:.2f} GB")
    console.print(f"positions in one pass: {planned.batch:,}")
    if planned.row_bytes:
        console.print(f"index: {planned.row_bytes:,} bytes an example")
    for assumed in planned.volume.assumed:
        console.print(f"assumed, not counted: {escape(assumed)}")
    console.print(f"rate: {planned.machine.basis}")
    console.print(plan_line(planned))
