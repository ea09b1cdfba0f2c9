"""How time and memory grow with the size of things, and whether plans know what stages hold."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.agreement import Growth, growth_exponent
from benchmarks.results import Result, at_most
from benchmarks.workloads import FULL, QUICK, Workload

RunSide = Callable[..., dict[str, Any]]
MEBIBYTE = 2**20
HOUR = 3600.0

GROWTH_AXES = {
    "rows": (8, 16, 32),
    "length": (128, 256, 512, 1024),
    "width": (96, 192, 288, 384),
    "layers": (2, 4, 8),
    "queries": (2, 8, 32),
}
START = replace(FULL["a"], name="g", hidden=192, mlp=768, layers=2, heads=4, kv_heads=4, vocabulary=1024)
QWEN7B = {"rows": 17_000, "length": 8192, "width": 3584, "layers": 28}
"""Sizes of the recipe that growth is carried on to; two query groups there as here."""


def growth(run_side: RunSide, quick: bool) -> list[Result]:
    """Fit exponents of the time and memory of the whole, but for the eigendecomposition."""
    workload, axes = replace(START, rows=8, shortest=256, longest=256), dict(GROWTH_AXES)
    if quick:
        workload = replace(workload, hidden=64, mlp=256, shortest=32, longest=32)
        axes = {axis: tuple(size // 4 for size in sizes) for axis, sizes in axes.items()}
        axes |= {"queries": (1, 2, 4), "layers": (1, 2, 4)}
    found = run_side("growth", workload, axes=axes)["axes"]
    results = []
    for axis, one in found.items():
        time, memory = (growth_exponent(one["sizes"], one[what]) for what in ("seconds", "bytes"))
        results += [
            Result(f"growth with {axis}", time.exponent, f"exponent of time ± {time.error:.2f}"),
            Result(f"memory with {axis}", memory.exponent, f"exponent of memory ± {memory.error:.2f}"),
        ]
    return [*results, *carried_on(workload, found)]


def carried_on(workload: Workload, found: Mapping[str, Mapping[str, Any]]) -> list[Result]:
    """Carry the time of the smallest sizes on to `QWEN7B`, and say by which factor it may be off.

    The factor is two standard errors of the exponents, each by as many powers as its axis is carried on.
    """
    here = {
        "rows": workload.rows,
        "length": workload.longest,
        "width": workload.hidden,
        "layers": workload.layers,
    }
    at = found["rows"]["sizes"].index(workload.rows)
    exponents: dict[str, Growth] = {
        axis: growth_exponent(found[axis]["sizes"], found[axis]["seconds"]) for axis in here
    }
    powers = {axis: math.log(QWEN7B[axis] / here[axis]) for axis in here}
    hours = found["rows"]["seconds"][at] / HOUR
    hours *= math.exp(sum(exponents[axis].exponent * powers[axis] for axis in here))
    off = math.exp(2 * math.hypot(*(exponents[axis].error * powers[axis] for axis in here)))
    return [
        Result("qwen7b carried on", hours, "h on this machine, eigendecompositions apart"),
        Result("qwen7b carried on, uncertainty", off, "× more or less"),
    ]


SHAPES = {
    "width 384": replace(FULL["a"], rows=8, layers=4),
    "widths of SmolLM2": replace(FULL["b"], rows=8, layers=3),
    "width 512": replace(
        FULL["a"], name="c", hidden=512, mlp=2048, layers=2, heads=8, kv_heads=2, vocabulary=2048, rows=8
    ),
}
OFF = 0.15  # of the plan


def peaks(run_side: RunSide, quick: bool) -> list[Result]:
    """Hold the peak of each stage against the plan's."""
    shapes = {"tiny": QUICK["a"]} if quick else SHAPES
    results = []
    for shape, workload in shapes.items():
        found = run_side("peaks", workload)
        for stage, planned in found["planned"].items():
            peak = found["measured"][stage]
            name = f"{shape}, {stage}"
            off = Result(f"{name}, off the plan", abs(peak / planned - 1), "of it", at_most(OFF))
            results += [off, Result(f"{name}, peak", peak / MEBIBYTE, "MiB above the model")]
    return results
