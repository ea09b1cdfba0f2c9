"""Services outlive their starter, are started once, and are stopped exactly: they and what they began."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from infra_core.runtime.services import Services, processes_with

# Starts a child in a session of its own, as a Prefect worker does, says so, and naps.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(120)
"""
NAP = [sys.executable, "-c", "import time; time.sleep(120)"]


@pytest.fixture
def services(tmp_path):
    found = Services(tmp_path / "state")
    with found.alone():
        yield found
    found.stop("nap")


def start(services, argv=NAP, **env):
    return services.start("nap", argv, env={**os.environ, **env}, cwd=services.folder)


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_service_is_started_once(services):
    assert start(services)
    first = services.running("nap")
    assert not start(services)
    assert services.running("nap") == first


def test_stopping_ends_it_and_what_it_started(services):
    start(services, [sys.executable, "-c", PARENT])
    parent = services.running("nap").pid
    deadline = time.monotonic() + 20
    while not services.last_words("nap") and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(services.last_words("nap"))
    assert alive(child)
    assert services.stop("nap")
    assert not alive(parent)
    assert not alive(child)
    assert services.running("nap") is None
    assert not services.stop("nap")


def test_a_process_id_that_belongs_to_another_by_now_is_left_alone(services):
    other = subprocess.Popen(NAP)
    try:
        (services.folder / "nap.pid").write_text(json.dumps({"pid": other.pid, "began": 1.0, "argv": NAP}))
        assert services.running("nap") is None
        assert not services.stop("nap")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_one_that_dies_leaves_its_last_words(services):
    start(services, [sys.executable, "-c", "import sys; sys.exit('port 4200 is taken')"])
    deadline = time.monotonic() + 20
    while services.running("nap") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert services.running("nap") is None
    assert services.last_words("nap") == "port 4200 is taken"


def test_processes_are_found_by_what_their_environment_says(services):
    start(services, INFRA_TEST_MARK="a run")
    assert processes_with("INFRA_TEST_MARK")["a run"] == services.running("nap")
    services.stop("nap")
    assert "a run" not in processes_with("INFRA_TEST_MARK")
