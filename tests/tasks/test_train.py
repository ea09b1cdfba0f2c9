"""The train stage: alone or in company, killed or not, it leaves the same checkpoint."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from infra_core.errors import DataError
from infra_core.recipe import CleanParams, LoraParams, ScratchBase, Source, TrainParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore
from tasks._checkpoint import after, load_checkpoint
from tasks._stage import RunContext
from tasks.base import base
from tasks.ingest import catalogued, ingest
from tasks.train import train

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds until two processes have imported torch and saved, on a busy machine
SHAPE = ScratchBase(
    kind="scratch", hidden_size=16, layers=2, heads=2, kv_heads=1, mlp_size=32, context=256, seed=3
)
MADE = {"prompt": "problem", "response": "solution", "answer": "answer"}
SOURCE = Source(
    name="sums", domain="math", uri="made://tiny_math?rows=60&levels=1-2&split=train", mapping=MADE
)
PARAMS = TrainParams(learning_rate=3e-3, epochs=6, batch_tokens=300, max_tokens=256, seed=5)
ON_THE_WAY = PARAMS.model_copy(update={"keep": (0.25, 0.75)})


def run(store: str, processes: int = 1, params: TrainParams = PARAMS) -> tuple[RunContext, Artifact]:
    ctx = RunContext(ArtifactStore(store), micro_batch_tokens=256, save_seconds=0.0, processes=processes)
    corpus = ingest(ctx, params=catalogued([SOURCE], CleanParams(), need_response=True))
    return ctx, train(ctx, base=base(ctx, params=SHAPE), corpus=corpus, params=params)


def hashes(ctx: RunContext, artifact: Artifact) -> dict[str, str]:
    return {name: part["sha256"] for name, part in ctx.store.manifest(artifact).parts.items()}


def states(store: Path) -> list[Path]:
    return list(store.glob("train/*/**/*.done"))


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_two_processes_die_with_the_one_that_waits_and_go_on_where_they_were(tmp_path):
    """SIGKILL to it alone: no worker survives, and the same call ends in the same bytes, on the way too."""
    store = tmp_path / "killed"
    code = f"from tests.tasks.test_train import ON_THE_WAY, run; run({str(store)!r}, 2, ON_THE_WAY)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=REPOSITORY) as waiting:
        deadline = time.monotonic() + PATIENCE
        while not states(store):
            assert waiting.poll() is None, "it ended before a state was saved"
            assert time.monotonic() < deadline, "no state in time"
            time.sleep(0.01)
        tree = psutil.Process(waiting.pid).children(recursive=True)
        assert len([process for process in tree if "infra_core.training.worker" in process.cmdline()]) >= 2
        waiting.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(alive, tree)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, tree))
    assert not list(store.glob("train/*/manifest.json"))
    assert states(store)

    resumed, undisturbed = (run(str(place), 2, ON_THE_WAY) for place in (store, tmp_path / "whole"))
    assert hashes(*resumed) == hashes(*undisturbed)
    for share in ON_THE_WAY.keep:
        assert resumed[0].store.parts(resumed[1], after(share, "model/*"))
    assert not states(store)


def killed_rank(store: Path) -> psutil.Process:
    """Wait until two processes train and have saved, and kill one of the two."""
    deadline = time.monotonic() + PATIENCE
    while not states(store):
        assert time.monotonic() < deadline, "no state in time"
        time.sleep(0.01)
    ranks = [
        process
        for process in psutil.Process().children(recursive=True)
        if "infra_core.training.worker" in (words := process.cmdline())
        and "torch.distributed.run" not in words
    ]
    assert len(ranks) == 2
    ranks[1].kill()
    return ranks[1]


@pytest.mark.slow
@pytest.mark.chaos
def test_one_of_two_processes_is_killed_and_the_training_goes_on_by_itself(tmp_path):
    """Prefect tries the stage again, which goes on from the state that was saved last, to the same bytes."""
    with prefect_test_harness(server_startup_timeout=120), ThreadPoolExecutor(1) as aside:
        killed = aside.submit(killed_rank, tmp_path / "killed")
        resumed = flow(run)(str(tmp_path / "killed"), 2)
    assert not alive(killed.result())
    assert hashes(*resumed) == hashes(*run(str(tmp_path / "whole"), 2))


def test_adapters_are_merged_and_also_kept(tmp_path):
    """`model/` is a model like any other; its base with `adapter/` beside it says the same."""
    lora = ON_THE_WAY.model_copy(update={"epochs": 1.0, "lora": LoraParams(rank=2, alpha=4)})
    ctx, checkpoint = run(str(tmp_path), params=lora)
    assert ctx.store.parts(checkpoint, "adapter/*") == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    ]
    ids = torch.arange(5, 25).unsqueeze(0)
    for share in (0.25, 0.75, 1.0):
        merged, _ = load_checkpoint(ctx, checkpoint, share=share)
        beside, _ = load_checkpoint(ctx, checkpoint, "lora", share)
        with torch.no_grad():
            torch.testing.assert_close(beside(ids).logits, merged(ids).logits, rtol=1e-5, atol=1e-5)
    plain = base(ctx, params=SHAPE)
    with pytest.raises(DataError, match=r"train\.lora"):
        load_checkpoint(ctx, plain, "lora")
