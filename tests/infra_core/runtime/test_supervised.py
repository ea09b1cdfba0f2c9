"""A supervised command hands its output over and never outlives the process that asked for it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from infra_core.runtime import CommandFailed, run_supervised

# A tree as torchrun makes one: a worker in its own session, a grandchild, and one that ignores SIGTERM.
TREE = """
import os, signal, subprocess, sys, time
nap = [sys.executable, "-c", "import time; time.sleep({nap})"]
deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep({nap})"]
subprocess.Popen(nap, start_new_session=True)
subprocess.Popen(deaf)
if os.fork() == 0:  # a daemon: its parent is gone at once
    if os.fork() == 0:
        os.setsid()
        time.sleep({nap})
    os._exit(0)
os.wait()
time.sleep(0.3)
print("ready", flush=True)
{then}
"""


def running(nap):
    """PIDs of everything that was told to sleep this long."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(nap) in word for word in words):
            found.append(process.info["pid"])
    return found


def gone(nap, seconds=8.0):
    deadline = time.monotonic() + seconds
    while running(nap) and time.monotonic() < deadline:
        time.sleep(0.05)
    return running(nap) == []


@pytest.fixture
def nap():
    """A number of seconds that no other process sleeps."""
    return 100_000 + os.getpid() * 1000 + time.monotonic_ns() % 1000


def tree(nap, then="time.sleep({nap})"):
    return [sys.executable, "-c", TREE.format(nap=nap, then=then.format(nap=nap))]


def test_lines_arrive_in_order_and_while_the_command_runs():
    """Standard error is among them."""
    code = (
        "import sys, time\nprint('a', flush=True)\nprint('b', file=sys.stderr, flush=True)\n"
        "time.sleep(0.5)\nprint('c')"
    )
    heard = []
    run_supervised([sys.executable, "-c", code], lambda line: heard.append((line, time.monotonic())))
    assert [line for line, _ in heard] == ["a", "b", "c"]
    assert heard[2][1] - heard[0][1] > 0.3


def test_the_environment_and_folder_are_those_asked_for(tmp_path):
    """Ours, with what was added."""
    heard = []
    code = "import os; print(os.environ['ADDED'], os.environ['HOME'], os.getcwd())"
    run_supervised([sys.executable, "-c", code], heard.append, env={"ADDED": "x"}, cwd=tmp_path)
    assert heard == [f"x {os.environ['HOME']} {tmp_path}"]


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_a_failure_carries_the_status_and_the_last_lines(code, status):
    """So that a log entry explains itself."""
    with pytest.raises(CommandFailed, match="last line") as caught:
        run_supervised([sys.executable, "-c", f"print('the last line', flush=True); {code}"], lambda _: None)
    assert caught.value.status == status


def test_what_a_command_leaves_behind_is_taken_down_with_it(nap):
    """Sessions of their own, daemons and the deaf included."""
    run_supervised(tree(nap, then="pass"), lambda _: None, grace=0.3)
    assert running(nap) == []


def test_an_exception_of_the_listener_takes_the_tree_down(nap):
    """The exception is what the caller sees."""

    def stop(line):
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="ready"):
        run_supervised(tree(nap), stop, grace=0.3)
    assert running(nap) == []


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_parent(nap, blow):
    """Not even when the parent had no chance to say goodbye."""
    code = (
        "from infra_core.runtime import run_supervised\n"
        f"run_supervised({tree(nap)!r}, lambda line: print(line, flush=True), grace=0.3)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout.readline() == "ready\n"
        assert len(running(nap)) >= 4
        parent.send_signal(blow)
    assert gone(nap)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started():
    nap = 100_000 + os.getpid() % 1000 + 7000
    with pytest.raises(TimeoutError, match="took longer than 2"):
        run_supervised(
            [sys.executable, "-c", TREE.format(nap=nap, then=f"time.sleep({nap})")],
            lambda line: None,
            grace=0.5,
            seconds=2.0,
        )
    assert running(nap) == []
