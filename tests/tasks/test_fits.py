"""Fits shared out to workers: the bytes that one process writes, and a dead worker costs its turn."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from infra_core.recipe import CleanParams, FactorParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore
from tasks._fits import Fit, fit_layers
from tasks._shares import workers_at_hand
from tasks._stage import STAGES, RunContext, stage
from tasks.base import base
from tasks.fit_eigenbasis import bases_of
from tasks.ingest import catalogued, ingest
from tests.tasks.test_partitions import SMALL, digests, rows

WIDE = SMALL.model_copy(update={"layers": 4})
PARAMS = FactorParams(modules="all", draws=2)


def deadly(ctx, model, fit_rows, params, given, update):
    """Fit some layers; whoever gets to those at the bottom first is killed there, once."""
    met = Path(ctx.store.root.removeprefix("file://")).parent / "met"
    if r"layers\.0\." in params.modules and not met.exists():
        time.sleep(3)  # the other worker is through by now
        met.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return bases_of(ctx, model, fit_rows, params, given, update)


def toy_fit(ctx, out, *, checkpoint: Artifact, corpus: Artifact, params: FactorParams):
    fit_layers(ctx, out, Fit("fit_eigenbasis", deadly, checkpoint, corpus, params))


def given(ctx, root):
    corpus = ingest(ctx, params=catalogued([rows(root, "sums")], CleanParams(), need_response=True))
    return {"checkpoint": base(ctx, params=WIDE), "corpus": corpus, "params": PARAMS}


@flow
def run(root, workers):
    shared = stage(version=1)(toy_fit)
    ctx = RunContext(
        ArtifactStore(f"{root}/store"), micro_batch_tokens=256, factor_bytes=1, workers=workers
    )  # every layer by itself
    with workers_at_hand():
        return ctx, shared(ctx, **given(ctx, root))


@pytest.fixture
def one_thread(monkeypatch):
    """Here and in workers: sums are the same to the bit on as many threads."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_workers_write_what_one_writes_though_one_of_them_dies(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks._stage.STAGES", dict(STAGES))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "met").touch()
    with prefect_test_harness(server_startup_timeout=120):
        ctx, alone = run(tmp_path / "one", 1)
        expected = digests(ctx, [alone])
        ctx, shared = run(tmp_path / "two", 2)
    assert (tmp_path / "two" / "met").exists()
    assert digests(ctx, [shared]) == expected
    folder = Path(shared.uri.removeprefix("file://"))
    written = {n: (folder / f"model.layers.{n}.safetensors").stat().st_mtime for n in range(4)}
    death = (tmp_path / "two" / "met").stat().st_mtime
    assert written[3] < death < written[0]  # what was whole stayed; what was being fitted came again
