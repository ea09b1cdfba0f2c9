"""What takes four times the memory that there is, is fitted and scored some layers at a time.

The limit is the kernel's: of what a process may write to, beside its imports and one loaded model.
"""

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from infra_core.influence import FactorParams
from infra_core.influence.plan import FITTING, module_sizes, need_of
from infra_core.lm.published import config_of
from infra_core.planning.work import FP32, Shape
from infra_core.recipe import ScratchBase
from tests.flows.conftest import REPOSITORY
from tests.tasks.test_partitions import POSITION, SMALL, attributed, digests

TALL = ScratchBase(
    kind="scratch", hidden_size=128, layers=36, heads=2, kv_heads=2, mlp_size=1024, context=128, seed=0
)
MLP = FactorParams(modules="mlp", decomposition="fp32")
BUDGET = 112 * 2**20  # bytes
BATCH = 64
AT_ONCE = {  # by the C allocator: what is freed goes back, so that what is taken is what is used
    "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536",
}  # fmt: skip


def attribute_within(root, *, in_turns, limited):
    """Fit and score, in the model's bytes and the budget if `limited`; write digests of what came of it."""
    threading.stack_size(2**20)  # the kernel counts what threads may take
    for name in ("warm", "tall"):
        Path(root, name).mkdir(parents=True)
    attributed(Path(root, "warm"), SMALL, MLP, (POSITION,), factor_bytes=1)  # imports and pools are there
    shape = Shape.of(config_of(TALL))
    if limited:
        limit = psutil.Process().memory_info().data + FP32 * shape.weights + BUDGET
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    room = BUDGET - shape.pass_bytes(BATCH) if in_turns else None
    found = attributed(
        Path(root, "tall"), TALL, MLP, (POSITION,), factor_bytes=room, micro_batch_tokens=BATCH
    )
    sys.stdout.write(json.dumps(digests(*found)))


def run_apart(root, **how):
    given = ", ".join(f"{name}={value}" for name, value in how.items())
    return subprocess.run(
        [sys.executable, "-c", f"from {__name__} import *; attribute_within({str(root)!r}, {given})"],
        env={**os.environ, **AT_ONCE, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_model_four_times_too_large_is_fitted_and_scored_in_turns_with_the_same_bits(tmp_path):
    sizes = module_sizes(config_of(TALL), MLP.modules)
    assert min(need_of(stage).of(sizes) for stage in (*FITTING, "score")) > 4 * BUDGET
    free = run_apart(tmp_path / "free", in_turns=False, limited=False)
    assert free.returncode == 0, free.stderr[-3000:]
    whole = run_apart(tmp_path / "whole", in_turns=False, limited=True)
    assert whole.returncode != 0
    assert "can't allocate memory" in whole.stderr, whole.stderr[-3000:]
    turns = run_apart(tmp_path / "turns", in_turns=True, limited=True)
    assert turns.returncode == 0, turns.stderr[-3000:]
    told = [json.loads(done.stdout.splitlines()[-1]) for done in (free, turns)]
    assert told[0] == told[1]
    assert len(told[0][1]) == TALL.layers
