"""What a device can do: measured where we are, taken from stated figures where we are not."""

import re
import time
from collections.abc import Callable

import psutil
import torch
from torch.nn.functional import silu
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from infra_core.errors import RequestError
from infra_core.planning.work import BACKWARD, FORWARD, Machine

# Of a current 80 GB accelerator: products in bf16, elementwise work of 4 bytes a number at 2 TB/s, a launch.
KNOWN_FLOPS, KNOWN_NUMBER_SECONDS, KNOWN_CALL_SECONDS = 3e14, 2e-12, 6e-6
# Larger passes gain nothing on a CPU: their products are large enough, and all else is memory touched afresh.
CPU_PASS_BYTES = 2e9
MOST_FLOP = 1e10  # of the product that is measured


def machine_of(
    memory: str, devices: int, config: PretrainedConfig, rows: int, device: str = "cpu"
) -> Machine:
    """Return this machine, or `devices` devices of `memory` each.

    Parameters
    ----------
    memory
        Such as "80GB"; empty for the device that is here.
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
        If `memory` is no size.
    """
    if not memory and device == "cpu":
        return _measured(psutil.virtual_memory().total, devices, config, rows)
    total = _bytes(memory) if memory else torch.cuda.get_device_properties(device).total_memory
    known = (KNOWN_FLOPS, KNOWN_NUMBER_SECONDS, KNOWN_CALL_SECONDS)
    return Machine(total, devices, *known, basis="assumed 300 TFLOP/s in bf16 a device")


def _bytes(memory: str) -> int:
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([GT])i?B?", memory.strip(), re.IGNORECASE)
    if size is None:
        raise RequestError(f"--memory {memory!r} is no size; write 80GB")
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
