"""What a device can do: measured where we are, taken from a stated figure where we are not."""

import re
import time

import psutil
import torch

from infra_core.errors import RequestError
from infra_core.planning.cost import Machine

KNOWN_FLOPS = 3e14  # a second: what a current 80 GB accelerator sustains in bf16


def machine_of(memory: str, devices: int) -> Machine:
    """Return this machine, or `devices` devices of `memory` each.

    Raises
    ------
    RequestError
        If `memory` is no size.
    """
    if not memory:
        flops = _measured_flops()
        total = psutil.virtual_memory().total
        return Machine(total, devices, flops, f"this machine: {flops / 1e9:.0f} GFLOP/s in fp32, measured")
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([GT])i?B?", memory.strip(), re.IGNORECASE)
    if size is None:
        raise RequestError(f"--memory {memory!r} is no size; write 80GB")
    unit = {"G": 10**9, "T": 10**12}[size[2].upper()]
    return Machine(int(float(size[1]) * unit), devices, KNOWN_FLOPS, "assumed 300 TFLOP/s in bf16 a device")


def _measured_flops(width: int = 1024, seconds: float = 0.3) -> float:
    """Return the fp32 matrix product rate of this machine: FLOP a second."""
    left, right = torch.randn(width, width), torch.randn(width, width)
    left @ right
    start, products = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        left @ right
        products += 1
    return products * 2 * width**3 / (time.monotonic() - start)
