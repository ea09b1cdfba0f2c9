"""What more processes are worth: ``OMP_NUM_THREADS=1 python -m benchmarks.processes FOLDER [RECIPE]``.

A recipe (`tiny` unless told otherwise; a name, or a file's path) is fitted and scored by one process, and
from the same model and corpus by two, four and so on, as many as there are cores. Each has one thread, so
that there is nothing else to gain. Prints the seconds of each stage, from their manifests.
"""

import os
import shutil
import sys
from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.table import Table

from benchmarks.growing import Seconds, seconds_of
from flows.__main__ import recipe_path
from flows.attribute import attribute
from flows.curate import planned_context
from flows.resources import Resources
from infra_core.recipe import Recipe
from tasks._shares import workers_at_hand

STAGES = ("fit_eigenbasis", "fit_factors", "score")


@flow(name="processes benchmark")
def attributed(recipe: str, store: str, workers: int) -> Seconds:
    """Make all up to scores that is not in the store; return the seconds of what was made, by stage."""
    given = Recipe.load(recipe)
    ctx = planned_context(given, store, Resources(device="cpu", workers=workers))
    with workers_at_hand():
        attribute(given, ctx)
    return seconds_of(ctx)


def counts() -> list[int]:
    """Return one, two, four and so on, up to the number of cores."""
    cores = os.cpu_count() or 1
    return [2**power for power in range(cores.bit_length()) if 2**power <= cores]


def measured(folder: Path, recipe: str) -> dict[int, Seconds]:
    """Return the seconds of stages by number of processes; what all of them begin with is made before."""
    prepared = folder / "prepared"
    attributed(recipe, str(prepared), 1)
    found = {}
    for count in counts():
        store = folder / f"by-{count}"
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(prepared, store, ignore=lambda _, names: [name for name in names if name in STAGES])
        found[count] = attributed(recipe, str(store), count)
    return found


def main(arguments: list[str]) -> None:
    """Measure and print."""
    folder, name = Path(arguments[0]), arguments[1] if len(arguments) > 1 else "tiny"
    found = measured(folder, str(recipe_path(name)))
    shown = Table("stage", *(f"{count}, s" for count in found), title="seconds by number of processes")
    for stage in STAGES:
        shown.add_row(stage, *(f"{seconds.get(stage, 0.0):.1f}" for seconds in found.values()))
    whole = [sum(seconds.get(stage, 0.0) for stage in STAGES) for seconds in found.values()]
    shown.add_row("all", *(f"{seconds:.1f} ({whole[0] / seconds:.2f} ×)" for seconds in whole))
    Console(highlight=False).print(shown)


if __name__ == "__main__":
    main(sys.argv[1:])
