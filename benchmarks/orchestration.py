"""What orchestration costs beside the work: parts shared out to workers, and a run that reuses everything.

``python -m benchmarks.orchestration`` measures the first, on the server of ``PREFECT_API_URL`` or an
ephemeral one. ``… RECIPE STORE`` then measures a run whose artifacts are all in the store.
"""

import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow

from infra_core.store.store import ArtifactStore, WorkDir
from tasks._shares import share_out, workers_at_hand
from tasks._stage import RunContext, stage

PARTS = 1000


def write_parts(_ctx: RunContext, out: WorkDir, names: Sequence[str], _given: None) -> None:
    """Write parts of next to nothing: all that is left is what a part costs."""
    for name in names:
        with out.open(name) as file:
            file.write(name.encode())


@stage(version=1)
def hollow(ctx: RunContext, out: WorkDir) -> None:
    """Share out parts of next to nothing."""
    share_out(ctx, out, write_parts, out.pending([f"{number:05d}" for number in range(PARTS)]), None)


@flow(name="orchestration benchmark")
def shared(store: str, workers: int) -> float:
    """Return the seconds that a stage of hollow parts takes."""
    began = time.monotonic()
    with workers_at_hand():
        hollow(RunContext(ArtifactStore(store), workers=workers))
    return time.monotonic() - began


def main(arguments: list[str]) -> None:
    """Measure and print."""
    for workers in (1, 2):
        with TemporaryDirectory() as store:
            seconds = shared(store, workers)
        _say(f"{PARTS} parts on {workers} worker(s)", seconds, f"{1000 * seconds / PARTS:.1f} ms a part")
    if arguments:
        from flows.deployed import curate

        recipe, store = arguments
        began = time.monotonic()
        result: Any = curate(recipe=recipe, store=store)
        _say(f"{recipe}, {result.built} built, {len(result.stages)} in all", time.monotonic() - began, "")


def _say(what: str, seconds: float, more: str) -> None:
    sys.stdout.write(f"{what}: {seconds:.1f} s {more}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
