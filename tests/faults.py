"""Faults of a machine that tests bring about: a clock that is wrong."""

from pathlib import Path

import pytest


def faketime_library(name: str = "libfaketime.so.1") -> str:
    """Return a library of the Debian package `faketime`, which makes a process believe in another time."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{name}"))
    if not found:
        pytest.skip("apt install faketime")
    return str(found[0])


def another_time(clock: Path) -> dict[str, str]:
    """Return the environment of a process whose time is off by what a file says; what measures goes on."""
    return {
        "LD_PRELOAD": faketime_library("libfaketimeMT.so.1"),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
    }
