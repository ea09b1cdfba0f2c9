"""Parts shared out to workers: each is written once, whoever dies, and a mistake is told as one."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from infra_core.errors import DataError
from infra_core.recipe import Params
from infra_core.store.store import ArtifactStore
from tasks._shares import dealt, share_out, workers_at_hand
from tasks._stage import STAGES, RunContext, stage

NAMES = ["a", "b", "c", "d"]


class Trouble(Params):
    """What goes wrong at part c: nothing, a mistake of data, or the death of the worker, once."""

    kind: str
    marks: str


def write(ctx, out, names, given):
    """Write parts that say which process wrote them, and meet the trouble."""
    for name in out.pending(names):
        met = Path(given.marks, "met")
        if name == "c" and given.kind == "data":
            raise DataError("row 3 of c has no prompt; map one")
        if name == "c" and given.kind == "death" and not met.exists():
            time.sleep(3)  # the other worker is through by now
            met.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if given.kind == "slow":
            Path(given.marks, f"worker-{os.getpid()}").touch()
            time.sleep(60)
        with out.open(name) as file:
            file.write(str(os.getpid()).encode())


def shared_toy(ctx, out, *, params):
    share_out(ctx, out, write, out.pending(NAMES), params)


@flow
def run(store, kind, marks):
    shared = stage(version=1)(shared_toy)
    with workers_at_hand():
        return shared(RunContext(ArtifactStore(store), workers=2), params=Trouble(kind=kind, marks=marks))


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr("tasks._stage.STAGES", dict(STAGES))
    with prefect_test_harness(server_startup_timeout=120):
        yield run


def writers(store, artifact):
    return {name: int(store.read(artifact, name)) for name in store.parts(artifact)}


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 6))
def test_units_are_dealt_once_each_in_order_and_no_share_has_more_than_one_unit_too_many(efforts, workers):
    units = list(enumerate(efforts))
    shares = dealt(units, min(workers, len(units)), lambda unit: unit[1])
    assert sorted(unit for share in shares for unit in share) == units
    assert all(share == sorted(share) for share in shares)
    longest, shortest = (choose(sum(own for _, own in share) for share in shares) for choose in (max, min))
    assert longest - shortest <= max(efforts) + 1e-6
    assert dealt(units, len(shares), lambda _: 1.0) == [units[n :: len(shares)] for n in range(len(shares))]


@pytest.mark.slow
def test_two_workers_share_the_parts_and_a_dead_one_costs_the_part_it_was_at(toy, tmp_path):
    store = ArtifactStore(str(tmp_path / "store"))
    quiet = writers(store, toy(store.root, "none", str(tmp_path)))
    assert list(quiet) == NAMES
    assert quiet["a"] == quiet["c"] != quiet["b"] == quiet["d"]
    assert os.getpid() not in quiet.values()

    deadly = writers(store, toy(store.root, "death", str(tmp_path)))
    assert list(deadly) == NAMES
    assert len({deadly["a"], deadly["b"], deadly["c"]}) == 3  # c by a worker of the second attempt
    assert deadly["b"] == deadly["d"]


@pytest.mark.slow
def test_a_mistake_that_a_worker_meets_is_told_as_it_is_and_the_others_finish(toy, tmp_path):
    root = tmp_path / "store"
    with pytest.raises(DataError, match="row 3 of c has no prompt; map one"):
        toy(str(root), "data", str(tmp_path))
    assert sorted(path.name for path in root.glob("shared_toy/*/[!.]*")) == ["a", "b", "d"]


@pytest.mark.slow
def test_workers_end_with_the_run_that_is_killed(tmp_path):
    store, marks = str(tmp_path / "store"), str(tmp_path)
    code = f"from tests.tasks.test_shares import run; run({store!r}, 'slow', {marks!r})"
    environment = {**os.environ, "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)
    deadline = time.monotonic() + 180
    while len(found := list(tmp_path.glob("worker-*"))) < 2:
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = [psutil.Process(int(mark.name.removeprefix("worker-"))) for mark in found]
    server = [child for child in psutil.Process(parent.pid).children() if child not in workers]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    for child in server:  # an ephemeral server may stay a while
        with suppress(psutil.NoSuchProcess):
            child.kill()
