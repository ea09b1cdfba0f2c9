"""What this machine is, and how fast it multiplies matrices."""

import os
import platform
import re
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median

import torch

from benchmarks.workloads import Workload
from infra_core.store.provenance import provenance

PACKAGES = ("torch", "transformers", "numpy", "polars", "rensa", "kronfluence", "bergson", "datatrove")
TYPICAL_TOKENS = 320  # of a row of 64 to 1024 tokens, log-uniform: the inner size of one gradient


def described() -> tuple[dict[str, str], dict[str, str]]:
    """Return the machine and the versions for results.json; no name and no path of either."""
    found = provenance()
    machine = {
        "platform": found["platform"],
        "processor": _processor(),
        "cores": found["cpu_count"],
        "threads": str(torch.get_num_threads()),
        "blas": "MKL" if torch.backends.mkl.is_available() else "not MKL",
    }
    code = {key: found[key] for key in ("python", "git_commit", "git_dirty") if key in found}
    return machine, code | {package: metadata.version(package) for package in PACKAGES}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return names[0] if names else platform.processor()


def gemm_rate(workload: Workload, dtype: torch.dtype, *, seconds: float = 0.15) -> float:
    """Return the operations a second of plain matrix products at the sizes that a workload's stages have.

    All the operations over all the time, each shape's time being the median of at least five runs.

    Parameters
    ----------
    workload
        Whose widths to take.
    dtype
        Of both factors.
    seconds
        To spend on each shape.
    """
    narrow, wide = workload.hidden, workload.mlp
    tokens = min(1024, 4 * workload.longest)
    shapes = [
        (tokens, narrow, wide),
        (tokens, wide, narrow),
        (tokens, wide, wide),  # rotation of the wide side
        (wide, tokens, wide),  # its covariance
        (wide, min(TYPICAL_TOKENS, tokens), narrow),  # one row's gradient
    ]
    return sum(2 * m * k * n for m, k, n in shapes) / sum(
        _product_seconds(shape, dtype, seconds) for shape in shapes
    )


def _product_seconds(shape: tuple[int, int, int], dtype: torch.dtype, budget: float) -> float:
    m, k, n = shape
    one, other = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    out = torch.empty(m, n, dtype=dtype)
    taken: list[float] = []
    torch.mm(one, other, out=out)
    while len(taken) < 5 or sum(taken) < budget:
        start = time.perf_counter()
        torch.mm(one, other, out=out)
        taken.append(time.perf_counter() - start)
    return median(taken)


def offline_environment() -> dict[str, str]:
    """Return the environment of a measuring process: no hub, no GPU, the same threads for everyone."""
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)
