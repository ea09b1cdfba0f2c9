"""What a device can do: measured where we are, taken from stated figures where we are not."""

import re
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch.nn.functional import silu
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from infra_core.errors import RequestError
from infra_core.planning.work import BACKWARD, FORWARD, Machine

# Of an accelerator that is not named: products in bf16, elementwise work of 4 bytes a number at 2 TB/s.
KNOWN_FLOPS, KNOWN_NUMBER_SECONDS = 3e14, 2e-12
KNOWN_CALL_SECONDS = 6e-6  # a launch
SUSTAINED = 0.4  # of the products in a data sheet: what well-tuned training of large models reaches
# Larger passes gain nothing on a CPU: their products are large enough, and all else is memory touched afresh.
CPU_PASS_BYTES = 2e9
MOST_FLOP = 1e10  # of the product that is measured
HOST_BYTES = 8e9  # a second, from memory that is not pinned: a quarter of PCI Express 4.0's 32 GB/s; assumed
CONTAINER = tuple(Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory/memory.limit_in_bytes"))
"""Where Linux says how much memory a container has: control groups 2, and 1."""


@dataclass(frozen=True)
class Known:
    """What a maker's data sheet says of a device.

    Attributes
    ----------
    flops
        A second, of dense products in bf16.
    bandwidth
        Bytes of its memory a second.
    """

    name: str
    memory_bytes: int
    flops: float
    bandwidth: float


DEVICES = {
    "l4": Known("NVIDIA L4 data sheet", int(24e9), 121e12, 0.30e12),
    "a10": Known("NVIDIA A10 data sheet", int(24e9), 125e12, 0.60e12),
    "l40s": Known("NVIDIA L40S data sheet", int(48e9), 362e12, 0.864e12),
    "a100": Known("NVIDIA A100 80GB SXM data sheet", int(80e9), 312e12, 2.039e12),
    "h100": Known("NVIDIA H100 SXM data sheet", int(80e9), 989e12, 3.35e12),
    "h200": Known("NVIDIA H200 SXM data sheet", int(141e9), 989e12, 4.8e12),
    "mi300x": Known("AMD Instinct MI300X data sheet", int(192e9), 1307e12, 5.3e12),
}
"""By the name that `infra plan --on` takes."""


def machine_of(
    memory: str, devices: int, config: PretrainedConfig, rows: int, device: str = "cpu"
) -> Machine:
    """Return this machine, `devices` devices of `memory` each, or as many of a known kind.

    Parameters
    ----------
    memory
        Such as "80GB", or a name of `DEVICES`; empty for the device that is here.
    devices
        How many.
    config
        Of the model: rates are measured at its widths.
    rows
        Positions of one pass, for the same reason.
    device
        The one that is here: ``cpu`` or ``cuda``. The latter's rates are not measured.

    Raises
    ------
    RequestError
        If `memory` is neither a size nor a name.
    """
    if not memory and device == "cpu":
        return _measured(memory_here(), devices, config, rows)
    if (known := DEVICES.get(memory.lower())) is not None:
        rates = SUSTAINED * known.flops, 4 / known.bandwidth, KNOWN_CALL_SECONDS
        basis = f"{SUSTAINED:.0%} of {known.flops / 1e12:g} TFLOP/s in bf16 a device ({known.name})"
        return Machine(known.memory_bytes, devices, *rates, basis=basis, host_bytes=HOST_BYTES)
    total = _bytes(memory) if memory else torch.cuda.get_device_properties(device).total_memory
    assumed = (KNOWN_FLOPS, KNOWN_NUMBER_SECONDS, KNOWN_CALL_SECONDS)
    basis = "assumed 300 TFLOP/s in bf16 a device"
    return Machine(total, devices, *assumed, basis=basis, host_bytes=HOST_BYTES)


def memory_here() -> int:
    """Return the memory this process may have: the machine's, or what container and `ulimit` leave it."""
    limits = [psutil.virtual_memory().total]
    limits += [int(text) for path in CONTAINER if (text := _first_line(path)).isdigit()]
    soft = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min(limits + [limit for limit in soft if limit != resource.RLIM_INFINITY])


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # another kind of container, or none
        return ""


def _bytes(memory: str) -> int:
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([GT])i?B?", memory.strip(), re.IGNORECASE)
    if size is None:
        raise RequestError(f"--memory {memory!r} is no size; write 80GB, or one of {', '.join(DEVICES)}")
    return int(float(size[1]) * {"G": 10**9, "T": 10**12}[size[2].upper()])


def _measured(memory_bytes: int, devices: int, config: PretrainedConfig, rows: int) -> Machine:
    hidden, mlp = config.hidden_size, config.intermediate_size
    rows = max(1, min(rows, int(MOST_FLOP / (2 * hidden * mlp))))
    left, right = torch.randn(rows, hidden), torch.randn(hidden, mlp)
    flops = 2 * rows * hidden * mlp / _seconds(lambda: left @ right)
    call = _call_seconds(config)
    # Between a product and a normalisation, as elementwise operations of a model go.
    number = _seconds(lambda: silu(left)) / left.numel()
    basis = (
        f"this machine: {flops / 1e9:.0f} GFLOP/s in fp32 at widths {hidden} × {mlp}, "
        f"{call * 1e6:.0f} µs an operation, measured"
    )
    return Machine(memory_bytes, devices, flops, number, call, basis, CPU_PASS_BYTES)


def _call_seconds(config: PretrainedConfig) -> float:
    """Return the time of one operation where computing takes none: in a model of hardly any width."""
    narrow = AutoConfig.for_model(
        config.model_type,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        vocab_size=8,
    )
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(narrow)
    ids = torch.zeros(1, 8, dtype=torch.int64)
    calls = 2 * (FORWARD.layer + BACKWARD.layer) + FORWARD.model + BACKWARD.model
    return _seconds(lambda: model(input_ids=ids, labels=ids, use_cache=False).loss.backward()) / calls


def _seconds(once: Callable[[], object], long_enough: float = 0.2) -> float:
    """Return the seconds of a call, once it is warm."""
    once()
    start, times = time.monotonic(), 0
    while time.monotonic() - start < long_enough:
        once()
        times += 1
    return (time.monotonic() - start) / times
