"""Faults of a machine that tests bring about: a disk that is full, a clock that is wrong."""

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A disk of its own, which may be made larger."""

    place: Path

    def grow(self, size: str) -> None:
        """Make it as large as `size` says, as ``mount`` takes it."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.place], check=True)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Disk]:
    """Mount a disk of `size` at `place`, which is made; skips where that is not allowed."""
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False)
    if made.returncode:
        pytest.skip("mounting a small disk wants the rights of root")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def another_time(leap: str | Path) -> dict[str, str]:
    """Return the environment of a process that lives in another time: off by `leap`, or as a file says.

    Needs the library of Debian's package `faketime`. Clocks that only measure go on as they do.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("apt install faketime")
    told = {"FAKETIME": leap} if isinstance(leap, str) else {"FAKETIME_TIMESTAMP_FILE": str(leap)}
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
        **told,
    }


def sleep_in_another_time() -> None:
    """Make `time.sleep` sleep in a process of `another_time`; no matter elsewhere.

    libfaketime 0.9.10 takes the measured time that Python sleeps until for one that it had changed, and the
    kernel refuses what comes of that.
    """
    if "FAKETIME_DONT_FAKE_MONOTONIC" in os.environ:
        time.sleep = lambda seconds: select.select([], [], [], seconds) and None
