"""Run a command whose whole process tree dies with us, whatever kills us."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TAIL_LINES = 200


class WorkerLost(OSError):
    """A process that shared in some work was killed or went out of reach; trying again may help."""


class CommandFailed(RuntimeError):
    """A supervised command ended with another status than 0.

    Attributes
    ----------
    status
        Its exit status; 128 + n if signal n ended it.
    tail
        The last lines that it printed.
    """

    def __init__(self, argv: Sequence[str], status: int, tail: str) -> None:
        super().__init__(f"{Path(argv[0]).name} ended with status {status}. Its last words:\n{tail[-2000:]}")
        self.status, self.tail = status, tail


def run_supervised(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    grace: float = 5.0,
    seconds: float | None = None,
) -> None:
    """Run a command to its end, handing over its output line by line.

    Between us and the command stands a supervisor that holds one end of a pipe, of which we hold the other.
    When we die for any reason, SIGKILL included, the pipe closes and the supervisor takes the tree down, also
    descendants that made sessions of their own (torchrun gives one to each worker).

    Parameters
    ----------
    argv
        The command.
    on_line
        Called with each line of standard output and error, without its newline. What it raises ends the
        command.
    env
        Added to our environment.
    cwd
        Where to run it; by default here.
    grace
        Seconds between SIGTERM and SIGKILL.
    seconds
        Longest time that the command may take.

    Raises
    ------
    CommandFailed
        If the command ends with a status other than 0.
    TimeoutError
        If it took too long and was ended.
    """
    watched, held = os.pipe()
    supervisor = [sys.executable, str(Path(__file__).with_name("supervisor.py")), str(watched), str(grace)]
    process = subprocess.Popen(
        [*supervisor, "--", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        bufsize=1,
        pass_fds=(watched,),
        start_new_session=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    os.close(watched)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    late = threading.Event()
    clock = threading.Timer(seconds or 0, _end_late, (process, late))
    if seconds is not None:
        clock.start()
    assert process.stdout is not None  # noqa: S101 - we asked for a pipe
    try:
        with process.stdout:
            for line in process.stdout:
                tail.append(line.rstrip("\n"))
                on_line(tail[-1])
        status = process.wait()
    finally:
        clock.cancel()
        os.close(held)
        _end(process, grace)
    if late.is_set():
        raise TimeoutError(f"{Path(argv[0]).name} took longer than {seconds} s and was ended")
    if status:
        raise CommandFailed(argv, status, "\n".join(tail))


def _end_late(process: subprocess.Popen, late: threading.Event) -> None:
    late.set()
    process.terminate()  # the supervisor takes its tree down


def _end(process: subprocess.Popen, grace: float) -> None:
    """Wait for the supervisor, which is taking its tree down; it needs one grace and a little."""
    try:
        process.wait(2 * grace + 5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
