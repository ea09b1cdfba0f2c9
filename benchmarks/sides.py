"""What is measured in a process of its own: `python -m benchmarks.sides REQUEST REPLY`, two JSON files.

A process apart, so that the peak of its memory is its own and no library's threads or caches touch another's.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from benchmarks import flops, instance_level, ours
from benchmarks.machine import gemm_rate, mean
from benchmarks.stopwatch import Stopwatch
from benchmarks.workloads import BATCH_TOKENS, MadeRows, Workload, build, query_rows, training_rows
from infra_core.corpus.example import TokenizedExample
from infra_core.influence import (
    KeptPasses,
    compress_queries,
    fit_factors,
    precondition_queries,
    score_examples,
)
from infra_core.influence.covariance import Covariances, eigenbases, fit_covariances
from infra_core.lm.batching import batches
from infra_core.runtime.memory import peak_memory

Reply = dict[str, object]
N_QUERIES = 2


def fit_and_score(workload: Workload, policy: str = "fp32", *, apart: bool = False) -> Reply:
    """Measure our engine: seconds and necessary operations by stage, the machine's rate, memory, scores.

    With `apart` no stage uses what another's passes over the rows left.
    """
    model, rows, queries = _prepared(workload)
    rates = [gemm_rate(workload, torch.float32)]
    with peak_memory() as memory:
        train = rows if apart else KeptPasses(rows)
        scores, seconds = ours.fit_and_score(model, train, queries, policy)
    rates.append(gemm_rate(workload, torch.float32))
    return {
        "scores": scores.tolist(),
        "seconds": seconds,
        "flops": flops.stages(workload, rows, queries),
        "gemm_rate": mean(rates),  # of before and after: a machine's clock drifts
        "peak_bytes": memory.above,
    }


def kronfluence(workload: Workload) -> Reply:
    """Measure kronfluence: seconds by stage, memory, scores."""
    from benchmarks import kronfluence_peer  # only the process of a peer pays for its import

    model, rows, queries = _prepared(workload)
    modules = list(fit_factors(model, [], ours.factor_params("fp32", curvature="identity")))
    with TemporaryDirectory() as folder, peak_memory() as memory:
        found = kronfluence_peer.fit_and_score(model, rows, queries, modules, Path(folder))
    return {"scores": found.scores.tolist(), "seconds": found.seconds, "peak_bytes": memory.above}


def bergson(workload: Workload) -> Reply:
    """Measure bergson: seconds in all, scores."""
    from benchmarks import bergson_peer

    model, rows, queries = _prepared(workload)
    with TemporaryDirectory() as folder:
        scores, seconds = bergson_peer.fit_and_score(model, rows, queries, Path(folder))
    return {"scores": scores.tolist(), "seconds": {"total": seconds}}


def eigendecompositions(workload: Workload) -> Reply:
    """Measure the eigendecomposition of the same covariances: ours in two ways, kronfluence's, ours again."""
    from benchmarks import kronfluence_peer

    model, rows, _ = _prepared(workload)
    covariances = fit_covariances(model, rows, ours.factor_params("fp32"), batch_tokens=BATCH_TOKENS)
    first = {way: _decompose(covariances, way) for way in (None, "fp32")}
    theirs = kronfluence_peer.decompose(model, covariances)
    again = {way: _decompose(covariances, way) for way in (None, "fp32")}
    ways = {
        way or "fp64": {"seconds": [seconds, again[way][0]], "residual": residual}
        for way, (seconds, residual) in first.items()
    }
    return {"ours": ways, "kronfluence": theirs}


def _decompose(covariances: Covariances, way: Literal["fp32"] | None) -> tuple[float, float]:
    """Return seconds and the largest ‖CQ − QΛ‖ / ‖C‖, both in fp64, of all covariances."""
    cov_a = {name: each.clone() for name, each in covariances.cov_a.items()}
    cov_g = {name: each.clone() for name, each in covariances.cov_g.items()}
    start = time.perf_counter()
    bases = eigenbases(replace(covariances, cov_a=cov_a, cov_g=cov_g), way)
    seconds = time.perf_counter() - start
    residuals = []
    for name, leader in covariances.leaders.items():
        basis = bases[name]
        for c, q, values in (
            (covariances.cov_a[leader], basis.q_a, basis.values_a),
            (covariances.cov_g[name], basis.q_g, basis.values_g),
        ):
            exact, vectors = c.double(), q.double()
            residuals.append(float((exact @ vectors - vectors * values.double()).norm() / exact.norm()))
    return seconds, max(residuals)


def levels(workload: Workload, repeats: int = 3) -> Reply:
    """Measure scores of examples alone, of tokens under both rules, and a plain forward and backward.

    Raises
    ------
    ValueError
        If the levels do not give the same scores of examples.
    """
    model, rows, queries = _prepared(workload)
    model.requires_grad_(False)
    identity = fit_factors(model, [], ours.factor_params("fp32", curvature="identity"))
    preconditioned = ours.query_side(model, identity, queries, "fp32")

    def tokens(rule: str) -> NDArray[np.float64]:
        params = ours.score_params("fp32", rule)
        scores = score_examples(model, preconditioned, rows, params, batch_tokens=BATCH_TOKENS)
        return ours.by_query(scores, len(queries))

    def plain() -> NDArray[np.float64]:
        for batch, _ in batches(rows, BATCH_TOKENS):
            instance_level.forward_backward(model, batch)
        return np.empty(0)

    kinds: dict[str, Callable[[], NDArray[np.float64]]] = {
        "instance": lambda: instance_level.instance_scores(model, preconditioned, rows),
        "position": lambda: tokens("position"),
        "loss_term": lambda: tokens("loss_term"),
        "forward_backward": plain,
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        found = {}
        for kind, run in kinds.items():
            start = time.perf_counter()
            found[kind] = run()
            seconds[kind].append(time.perf_counter() - start)
    for rule in ("position", "loss_term"):
        if not np.allclose(found[rule], found["instance"], rtol=1e-3, atol=1e-4 * np.abs(found[rule]).max()):
            raise ValueError(f"rule {rule} and the instance level disagree about the scores of examples")
    # The fastest of each: what disturbs a run only ever makes it slower.
    return {"seconds": {kind: min(taken) for kind, taken in seconds.items()}}


def many_queries(workload: Workload, count: int) -> Reply:
    """Measure many single queries against the same rows, at full rank and compressed: query side, scores."""
    model, rows, _ = _prepared(workload)
    queries = ours.single(query_rows(workload, count))
    factors = fit_factors(model, rows, ours.factor_params("fp32"), batch_tokens=BATCH_TOKENS)
    params = ours.score_params("fp32").model_copy(update={"energy": ours.ENERGY})
    exactly, compressed = Stopwatch(), Stopwatch()
    with exactly.timing("queries"):
        directions = precondition_queries(model, factors, queries, params, batch_tokens=BATCH_TOKENS)
    with exactly.timing("scores"):
        exact = score_examples(model, directions, rows, params, batch_tokens=BATCH_TOKENS)
    del directions
    with compressed.timing("queries"):
        cores = compress_queries(model, factors, queries, params, batch_tokens=BATCH_TOKENS)
    with compressed.timing("scores"):
        near = score_examples(model, cores, rows, params, batch_tokens=BATCH_TOKENS)
    return {
        "seconds": {"exact": exactly.seconds, "compressed": compressed.seconds},
        "tokens": sum(map(len, rows)),
        "scores": {
            "exact": ours.by_query(exact, count).tolist(),
            "compressed": ours.by_query(near, count).tolist(),
        },
        "energy": min(cores.energy.values()),
        "kept": max(core.shape[1] / len(cores.left[name]) for name, core in cores.cores.items()),
    }


def growth(workload: Workload, axes: Mapping[str, Sequence[int]]) -> Reply:
    """Measure the whole of fit and score, but for the eigendecomposition, along each axis from `workload`."""
    found = {}
    for axis, sizes in axes.items():
        taken, held = [], []
        for size in sizes:
            changed, n_queries = _grown(workload, axis, size)
            model, rows, queries = _prepared(changed, n_queries)
            with peak_memory() as memory:
                runs = [_seconds_without_eigh(model, rows, queries) for _ in range(2)]
            taken.append(min(runs))
            held.append(memory.above)
        found[axis] = {"sizes": list(sizes), "seconds": taken, "bytes": held}
    return {"axes": found}


def peaks(workload: Workload) -> Reply:
    """Measure the peak of each stage, beside what is planned for it."""
    from benchmarks import peaks as stages  # the plan and all: only this process pays for the import

    model, rows, queries = _prepared(workload)
    return {
        "planned": stages.planned(model, N_QUERIES, BATCH_TOKENS),
        "measured": stages.measured(model, rows, queries),
    }


def _grown(workload: Workload, axis: str, size: int) -> tuple[Workload, int]:
    match axis:
        case "rows":
            return replace(workload, rows=size), N_QUERIES
        case "length":
            return replace(workload, shortest=size, longest=size), N_QUERIES
        case "width":
            return replace(workload, hidden=size, mlp=4 * size), N_QUERIES
        case "layers":
            return replace(workload, layers=size), N_QUERIES
        case _:
            return workload, size


def _seconds_without_eigh(
    model: PreTrainedModel, rows: Sequence[TokenizedExample], queries: Sequence[TokenizedExample]
) -> float:
    _, seconds = ours.fit_and_score(model, rows, queries)
    return sum(seconds.values()) - seconds["eigh"]


def _prepared(
    workload: Workload, n_queries: int = N_QUERIES
) -> tuple[PreTrainedModel, list[TokenizedExample], list[TokenizedExample]]:
    """Return the model, warm, with rows and queries."""
    model, rows = build(workload), training_rows(workload)
    batch, _ = next(batches(rows[:1], BATCH_TOKENS))
    model.requires_grad_(False)
    instance_level.forward_backward(model, batch)  # threads and kernels are set up at the first call
    model.requires_grad_(True)
    return model, rows, query_rows(workload, n_queries)


def pools(rows: MadeRows, folder: str) -> Reply:
    """Measure our stages from raw files to a mixture: seconds, memory, what was found.

    The peak is ours above the imports and, for each worker, the largest that a child process ever was.
    """
    from benchmarks import pools as ours_to_mixture  # Prefect and all: only this process pays for the import

    with TemporaryDirectory() as store, peak_memory() as memory:
        found = ours_to_mixture.to_mixture(Path(folder), Path(store))
    child = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {**found, "peak_bytes": memory.above + ours_to_mixture.WORKERS * child}


def datatrove(rows: MadeRows, folder: str, text: str) -> Reply:
    """Measure datatrove's reader and MinHash on the same files: seconds by step."""
    from benchmarks import datatrove_peer

    with TemporaryDirectory() as scratch:
        return {"seconds": datatrove_peer.deduplicate(Path(folder, "train"), Path(scratch), text)}


SIDES: dict[str, Callable[..., Reply]] = {
    "ours": fit_and_score,
    "kronfluence": kronfluence,
    "bergson": bergson,
    "eigh": eigendecompositions,
    "levels": levels,
    "queries": many_queries,
    "growth": growth,
    "peaks": peaks,
    "pools": pools,
    "datatrove": datatrove,
}


def main(request: Path, reply: Path) -> None:
    """Run what the request names and write what came of it."""
    asked = json.loads(request.read_text())
    given = asked["workload"]
    workload = MadeRows(**given) if "hidden" not in given else Workload(**given)
    reply.write_text(json.dumps(SIDES[asked["side"]](workload, **asked["options"])))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
