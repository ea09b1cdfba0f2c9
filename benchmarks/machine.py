"""What this machine is, how fast it multiplies matrices, and how much memory a piece of work takes."""

import ctypes
import gc
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from statistics import median

import torch

from benchmarks.workloads import Workload
from infra_core.store.provenance import provenance

PACKAGES = ("torch", "transformers", "numpy", "polars", "rensa", "kronfluence", "bergson", "datatrove")
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
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


class PeakMemory:
    """How far resident memory rose above where it stood at the start.

    Attributes
    ----------
    above
        Bytes; set when the work is done.
    """

    above: int = 0


@contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure the peak of what happens inside, above the model and the imports that are there already.

    Raises
    ------
    OSError
        If the system does not keep a high-water mark that can be reset: it is not Linux.
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # else what was used and freed before would be used again unseen
        libc.malloc_trim(0)
    CLEAR_REFS.write_text("5")  # the high-water mark falls to what is resident now
    before, found = _resident("VmRSS"), PeakMemory()
    yield found
    found.above = _resident("VmHWM") - before


def _resident(field: str) -> int:
    """Return a field of this process' memory in bytes.

    Raises
    ------
    OSError
        If the system does not tell it.
    """
    found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(found[1]) * 1024


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
