"""The three kinds of store that every claim is tried on, and processes that build in them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from s3fs import S3FileSystem

from infra_core.store.store import ArtifactStore
from infra_core.store.transport import reach_bucket
from tests.services import seaweed  # noqa: F401 - a fixture

REPOSITORY = Path(__file__).parents[3]
BUILDER = Path(__file__).with_name("builder.py")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what is fetched out of the user's cache."""
    monkeypatch.setenv("INFRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_root(kind, request):
    if kind == "file":
        return f"file://{request.getfixturevalue('tmp_path')}/store"
    return f"memory://{uuid4().hex}" if kind == "memory" else request.getfixturevalue("seaweed").url()


@pytest.fixture(params=["file", "memory"])
def store(request):
    """A new, empty store; for claims about our own doing."""
    return ArtifactStore(make_root(request.param, request), lease_seconds=2.0)


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def any_store(request):
    """A new, empty store; for claims that lean on what the filesystem does."""
    return ArtifactStore(make_root(request.param, request), lease_seconds=2.0)


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def shared_store(request):
    """A new store that several processes can see."""
    return ArtifactStore(make_root(request.param, request), lease_seconds=2.0)


@pytest.fixture
def forget_connections() -> Iterator[None]:
    """Let s3fs look at the environment anew, before and after."""
    for _ in range(2):
        S3FileSystem.clear_instance_cache()
        reach_bucket.cache_clear()
        if not _:
            yield


@dataclass
class Builder:
    """A process that runs builder.py, and the log it writes."""

    process: subprocess.Popen
    log: Path

    def notes(self) -> list[str]:
        with suppress(FileNotFoundError):
            return self.log.read_text().splitlines()
        return []

    def wait_for(self, note: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while note not in self.notes():
            assert self.process.poll() is None, f"it ended before {note!r}: {self.notes()}"
            assert time.monotonic() < end, f"no {note!r} within {seconds} s: {self.notes()}"
            time.sleep(0.02)


@pytest.fixture
def start_builder(tmp_path) -> Iterator[Callable[..., Builder]]:
    """Start processes that build the artifact of builder.py; whatever is left of them dies with the test."""
    started = []

    def start(store: ArtifactStore, **options: float) -> Builder:
        log = tmp_path / f"builder-{len(started)}.log"
        given = {"root": store.root, "lease_seconds": store.lease_seconds, "log": str(log), **options}
        process = subprocess.Popen(
            [sys.executable, str(BUILDER), json.dumps(given)],
            # The killed ones leave their scratch folder behind.
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return Builder(process, log)

    yield start
    for process in started:
        process.kill()
        process.wait()
