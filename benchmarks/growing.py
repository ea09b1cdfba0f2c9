"""What one row in a hundred more costs: ``python -m benchmarks.growing FOLDER [RECIPE]``.

The rows of the recipe's corpus (`tiny` unless told otherwise; else a name, or a file's path), made ones or
lines of a file, are written into FOLDER as files, and the whole recipe runs on them. Then each source gets
another file with a hundredth of its rows, and everything up to the mixtures is made again, the model and the
factors of the first run being kept as long as the drift allows. Prints the seconds of each stage of both,
from their manifests.
"""

import json
import math
import re
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.__main__ import recipe_path
from flows.attribute import attribute
from flows.curate import ALONE, mix_arms, planned_context, run_stages
from infra_core.recipe import Recipe, RefitParams, Source
from infra_core.sources.made import made_rows
from infra_core.store.artifact import Artifact
from tasks._stage import RunContext
from tasks.drift import read_drift

MORE = 0.01
ROWS = re.compile(r"(?<=[?&]rows=)\d+")
Seconds = dict[str, float]


def lines_of(source: Source) -> tuple[list[str], list[str]]:
    """Return the rows of a source as lines of JSON: those that it has at first, and those that come later.

    Of a made source that is a hundredth more; of a file of lines its last hundredth.
    """
    if made := ROWS.search(source.uri):
        now = int(made[0])
        uri = ROWS.sub(str(now + math.ceil(MORE * now)), source.uri)
        lines = [json.dumps(row) for row in made_rows(uri)]
    else:
        lines = Path(source.uri).read_text().splitlines()
        now = len(lines) - math.ceil(MORE * len(lines))
    return lines[:now], lines[now:]


def written(source: Source, folder: Path, *, grown: bool) -> Source:
    """Write a source as files, rows that come later apart; return it read from there."""
    place = folder / "rows" / source.name
    place.mkdir(parents=True, exist_ok=True)
    first, later = lines_of(source)
    for name, some in {"first.jsonl": first, **({"later.jsonl": later} if grown else {})}.items():
        (place / name).write_text("".join(line + "\n" for line in some))
    return source.model_copy(update={"uri": str(place)})


def on_files(given: Recipe, folder: Path, *, grown: bool) -> Recipe:
    """Return a recipe whose corpus is read from files."""
    sources = tuple(written(source, folder, grown=grown) for source in given.corpus.sources)
    return given.model_copy(update={"corpus": given.corpus.model_copy(update={"sources": sources})})


def seconds_of(ctx: RunContext) -> Seconds:
    """Return what a run built, in seconds by stage."""
    found: Seconds = defaultdict(float)
    for artifact in ctx.store.artifacts():
        manifest = ctx.store.manifest(artifact)
        if manifest.provenance.get("run") == ctx.run_id:
            found[artifact.stage] += manifest.seconds
    return found


def again(given: Recipe, folder: Path, report: Artifact) -> tuple[Seconds, str]:
    """Let the corpus grow and make everything up to the mixtures; return seconds, and how far it is."""
    grown = on_files(given, folder, grown=True).model_copy(update={"refit": RefitParams(since=report.uri)})
    ctx = planned_context(grown, str(folder / "store"), ALONE)
    found = attribute(grown, ctx)
    mix_arms(grown, ctx, found)
    drift = read_drift(ctx, found.drift)
    return seconds_of(ctx), drift.told(grown.refit) if drift and grown.refit else "model and factors are new"


def table(first: Seconds, later: Seconds) -> Table:
    """Lay both runs side by side."""
    shown = Table("stage", "whole run, s", "later, s", title="seconds of stages")
    for stage in sorted(first.keys() | later.keys(), key=lambda name: -first.get(name, 0.0)):
        shown.add_row(stage, *(f"{run[stage]:.1f}" if stage in run else "" for run in (first, later)))
    whole, part = sum(first.values()), sum(later.values())
    shown.add_row("all", f"{whole:.1f}", f"{part:.1f} ({part / whole:.1%})")
    return shown


def main(arguments: list[str]) -> None:
    """Run, let the corpus grow, run again, and print."""
    folder, name = Path(arguments[0]), arguments[1] if len(arguments) > 1 else "tiny"
    given = Recipe.load(recipe_path(name))
    whole = on_files(given, folder, grown=False)
    ctx = planned_context(whole, str(folder / "store"), ALONE)
    report = run_stages(whole, ctx)
    first = seconds_of(ctx)
    later, told = again(given, folder, report)
    console = Console(highlight=False)
    console.print(table(first, later))
    console.print(told)


if __name__ == "__main__":
    main(sys.argv[1:])
