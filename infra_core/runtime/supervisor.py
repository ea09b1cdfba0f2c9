"""Run a command and take its whole process tree down when the parent is gone: see `supervised`.

Run by its path, ``python supervisor.py FD GRACE -- COMMAND…``: FD is the read end of a pipe whose other end
only the parent holds. Imports nothing of ours, so that it starts at once.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

import psutil

PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02


def main(arguments: list[str]) -> int:
    """Run the command; return its exit status."""
    parent_pipe, grace, command = int(arguments[0]), float(arguments[1]), arguments[3:]
    # Orphans come to us instead of to init: no descendant can leave the tree by daemonising.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    alarm, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while child.poll() is None:
        ready, _, _ = select.select([parent_pipe, alarm], [], [])
        told = os.read(alarm, 64) if alarm in ready else b""
        if parent_pipe in ready or signal.SIGTERM in told or signal.SIGINT in told:
            break
    take_down(grace)
    status = child.wait()
    return status if status >= 0 else 128 - status


def take_down(grace: float) -> None:
    """End all descendants: asked first, then killed, those made meanwhile included."""
    for process in tree():
        tell(process, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (left := tree()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    while left:
        for process in left:
            tell(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
        left = tree()


def tree() -> list[psutil.Process]:
    """Return all descendants that still run."""
    return [process for process in psutil.Process().children(recursive=True) if alive(process)]


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tell(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
