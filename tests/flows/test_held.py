"""A held command begins when its file is there, and ends with who started it."""

import os
import socket
import subprocess
import sys

import pytest

from tests.flows.conftest import REPOSITORY
from tests.flows.machine import running_machine

pytestmark = pytest.mark.slow


def held(gate, starter):
    return subprocess.Popen(
        [sys.executable, "-m", "flows.held", str(gate), str(starter), "--version"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_it_begins_when_the_file_is_there_and_not_before(tmp_path):
    process = held(tmp_path / "gate", os.getpid())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(20)
    (tmp_path / "gate").touch()
    told, _ = process.communicate(timeout=120)
    assert (process.returncode, told[:2]) == (0, "3.")


def test_it_ends_with_its_starter_if_the_file_never_came(tmp_path):
    told, _ = held(tmp_path / "gate", starter=1).communicate(timeout=120)
    assert told == ""


def test_where_no_server_comes_up_no_worker_stays(tmp_path):
    """Somebody else has the port."""
    with running_machine(tmp_path) as machine, socket.socket() as taken:
        taken.bind(("127.0.0.1", int(machine.environment["INFRA_PORT"])))
        done = machine.infra("up")
        assert done.returncode == 2
        assert "no Prefect server came up on port" in done.stderr
        assert "already in use" in done.stderr
        machine.waits(lambda: machine.services.running("worker") is None, "the end of the worker", 60)
