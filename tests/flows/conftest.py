"""One finished shrunk run, which every test may look at and add to."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from flows.curate import run_stages
from infra_core.recipe import Recipe
from infra_core.store.artifact import MANIFEST, Artifact
from tasks._stage import RunContext
from tests.flows.machine import running_machine
from tests.flows.shrunk import shrunk_tiny
from tests.services import REPOSITORY, seaweed  # noqa: F401 - a fixture

ROW_LOCAL = ("ingest/*/*.parquet", "score/*/*.parquet", "evaluate/*/draws-*/*.parquet")


@dataclass(frozen=True)
class FinishedRun:
    """A run without Prefect, straight through."""

    recipe: Path
    ctx: RunContext
    report: Artifact
    hashes: dict[tuple[str, str, str], str]
    """Of its own parts: tests that come later add others to its store."""


def part_hashes(store):
    """Every part of every artifact, those with times aside, which alone may differ between runs."""
    return {
        (artifact.stage, artifact.key, name): part["sha256"]
        for artifact in store.artifacts()
        for name, part in store.manifest(artifact).parts.items()
        if name not in {"timing.json", "report.html"}
    }


def finished_files(root):
    """Files that nobody may touch any more: those of finished artifacts, and row-local parts of all."""
    whole = [path for done in root.glob(f"[!.]*/*/{MANIFEST}") for path in done.parent.rglob("*")]
    parts = [path for pattern in ROW_LOCAL for path in root.glob(pattern)]
    return {
        path: path.stat().st_mtime_ns
        for path in (*whole, *parts)
        if path.is_file() and ".work" not in path.parts
    }


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """As in the processes that `infra` starts: runs are the same to the bit on as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def finished(one_thread, tmp_path_factory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("finished")
    recipe = shrunk_tiny(folder)
    ctx = RunContext.here(str(folder / "store"), "cpu")
    report = run_stages(Recipe.load(recipe), ctx)
    return FinishedRun(recipe, ctx, report, part_hashes(ctx.store))


@pytest.fixture(scope="package")
def infra(tmp_path_factory):
    """The `infra` command as (argv, environment), with a Prefect home and a folder for litter of its own."""
    with TemporaryDirectory() as scratch:  # a run that is killed leaves what it had there
        Path(scratch).chmod(0o711)  # the user that a sandboxed program runs as passes through
        environment = {
            **os.environ,
            "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": scratch,
        }
        environment.pop("PREFECT_API_URL", None)
        yield [sys.executable, "-m", "flows"], environment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the machine that is brought up for the tests of one module."""
    made = tmp_path_factory.mktemp("machine")
    made.chmod(0o711)  # the user that a sandboxed program runs as passes through
    return made


@pytest.fixture(scope="module")
def machine(folder, seaweed):  # noqa: F811 - the fixture of the import
    """A server, a worker and all deployments, as `infra up` brings them up from nothing."""
    with running_machine(folder, **seaweed.environment) as found:
        done = found.infra("up")
        assert done.returncode == 0, done.stderr
        yield found
