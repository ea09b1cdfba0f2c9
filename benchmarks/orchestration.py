"""What orchestration costs beside the work.

``python -m benchmarks.orchestration`` measures parts that are shared out to workers, on the server of
``PREFECT_API_URL`` or an ephemeral one. ``… STORE``, with all artifacts of recipe `tiny` in that store,
measures a machine that is brought up from nothing, and then a run on it that reuses everything.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from socket import create_server
from tempfile import TemporaryDirectory

import httpx
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


def brought_up(store: str) -> None:
    """Run `infra up --run tiny` where nothing is up, then once more; say what the server says of the runs."""
    with TemporaryDirectory() as state:
        with create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        known = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment = known | {"INFRA_STATE": state, "INFRA_PORT": str(port)}
        infra = [sys.executable, "-m", "flows"]
        for before in ("nothing up", "server up"):
            began = datetime.now(UTC)
            asked = [*infra, "up", "--run", "tiny", "--store", store]
            told = subprocess.run(
                asked, env=environment, stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            identity = told.partition("started as ")[2].partition(";")[0]
            run = httpx.get(f"http://127.0.0.1:{port}/api/flow_runs/{identity}").json()
            created, runs, ended = (
                datetime.fromisoformat(run[moment]) for moment in ("created", "start_time", "end_time")
            )
            _say(f"{before}: until the run runs", (runs - began).total_seconds())
            _say(f"{before}: from asked for to ended", (ended - created).total_seconds())
        subprocess.run([*infra, "down"], env=environment, check=True)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    if arguments:
        brought_up(*arguments)
        return
    for workers in (1, 2):
        with TemporaryDirectory() as store:
            seconds = shared(store, workers)
        _say(f"{PARTS} parts on {workers} worker(s)", seconds, f"{1000 * seconds / PARTS:.1f} ms a part")


def _say(what: str, seconds: float, more: str = "") -> None:
    sys.stdout.write(f"{what}: {seconds:.1f} s {more}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
