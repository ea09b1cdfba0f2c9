"""Run programs nobody here wrote: many to a sandbox, each in a child that cannot spoil its neighbours."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra_core.verify.confinement import (
    Confinement,
    Limits,
    Program,
    Strength,
    confinement,
    start,
    strongest,
)

__all__ = [
    "Confinement",
    "Limits",
    "Outcome",
    "Program",
    "Strength",
    "confinement",
    "run_programs",
    "strongest",
]

BATCH = 256  # programs to a sandbox: starting one costs as much as running ten programs
START_SECONDS = 30.0  # for a sandbox to come up on a busy machine, and beyond each program's own limit


@dataclass(frozen=True)
class Outcome:
    """What came of one program.

    Attributes
    ----------
    trouble
        Why it did not end well, for people; empty if it ended by itself with exit status 0.
    stdout
        What it printed, up to the limit.
    report
        The text given to `report`, if it was called exactly once.
    """

    trouble: str
    stdout: str
    report: str | None


def run_programs(
    programs: Sequence[Program],
    limits: Limits | None = None,
    *,
    within: Confinement | None = None,
    at_once: int | None = None,
) -> list[Outcome]:
    r"""Run programs in sandboxes and return their outcomes in the same order.

    Parameters
    ----------
    programs
        Any Python, hostile or broken.
    limits
        For each program on its own; the defaults suit competitive programming.
    within
        How to shut them in; by default the strongest way that works here.
    at_once
        Sandboxes side by side; by default one a processor. Inside each, one program runs at a time.

    Returns
    -------
    list[Outcome]
        One a program. A program that brings its whole sandbox down is run again in one of its own, and so
        are those behind it, and one that was killed by nobody we know of: whoever kills from outside, as
        the kernel does when memory is short, has no say in a verdict.

    Examples
    --------
    >>> [outcome] = run_programs([Program("print(input()[::-1])", stdin="abc")])
    >>> outcome.stdout, outcome.trouble
    ('cba\n', '')
    """
    if not programs:
        return []
    limits, within = limits or Limits(), within or strongest()
    at_once = at_once or len(os.sched_getaffinity(0))
    size = max(1, min(BATCH, -(-len(programs) // at_once)))
    batches = [programs[start : start + size] for start in range(0, len(programs), size)]
    with ThreadPoolExecutor(at_once) as pool:
        outcomes = pool.map(lambda batch: _run_batch(batch, limits, within), batches)
        return [outcome for batch in outcomes for outcome in batch]


def _run_batch(programs: Sequence[Program], limits: Limits, within: Confinement) -> list[Outcome]:
    """Run a batch in one sandbox, and whatever was killed or left undone there again in one of its own."""
    found = _run_once(programs, limits, within)
    done = []
    for place, program in enumerate(programs):
        one = found[place] if place < len(found) else None
        if one is None or (one["code"] == -signal.SIGKILL and not one["stopped"]):
            one = next(iter(_run_once([program], limits, within)), one)
        done.append(_outcome(one, limits) if one else Outcome("it brought its sandbox down", "", None))
    return done


def _run_once(programs: Sequence[Program], limits: Limits, within: Confinement) -> list[dict]:
    """Run a batch in one sandbox; return what the driver says of the programs that it got to judge."""
    found: list[dict] = []
    with start(within, programs, limits) as (process, token):
        for line in _lines(process, limits):
            if not line.startswith(token) or len(found) == len(programs):
                break
            found.append(json.loads(line[len(token) :]))
    return found


def _lines(process: subprocess.Popen, limits: Limits) -> Iterator[str]:
    """Yield the driver's lines for as long as they come in time and in size."""
    assert process.stdout is not None  # noqa: S101 - we asked for a pipe
    fd, buffer = process.stdout.fileno(), bytearray()
    # A byte of output takes at most six characters of JSON ("\\u0000").
    longest = 6 * (2 * limits.output_bytes + 4096) + 4096
    deadline = time.monotonic() + START_SECONDS + limits.wall_seconds
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(fd, 1 << 16)
        if not piece or len(buffer) > longest:
            return
        *lines, rest = (bytes(buffer) + piece).split(b"\n")
        buffer = bytearray(rest)
        for line in lines:
            deadline = time.monotonic() + START_SECONDS + limits.wall_seconds
            yield line.decode("ascii", "replace")


def _outcome(found: dict, limits: Limits) -> Outcome:
    """Read one line of the driver."""
    return Outcome(_trouble(found, limits), found["stdout"], found["report"])


def _trouble(found: dict, limits: Limits) -> str:
    """Say for people why a program did not end well."""
    code = found["code"]
    match found["stopped"]:
        case "timeout":
            return f"still running after {limits.wall_seconds:g} s"
        case "memory":
            return f"more than {limits.memory_bytes >> 20} MiB of memory"
        case "processes":
            return f"more than {limits.processes} processes"
        case "output":
            return f"more than {limits.output_bytes} bytes of output"
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return f"more than {limits.cpu_seconds} s of processor time"
    if code < 0:
        return (
            f"killed by {signal.Signals(-code).name}"
            if -code in set(signal.Signals)
            else f"killed by signal {-code}"
        )
    last = found["stderr"].strip().rpartition("\n")[2][:200]
    return "" if code == 0 else last or f"exit status {code}"
