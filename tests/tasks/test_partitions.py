"""Stages that take some layers at a time write the bytes that they write otherwise, in less memory."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from infra_core.recipe import (
    Benchmark,
    CleanParams,
    FactorParams,
    QueryParams,
    ScoreParams,
    ScratchBase,
    Source,
)
from infra_core.store.store import ArtifactStore
from tasks._stage import RunContext
from tasks.base import base
from tasks.collect_queries import QueryRun, collect_queries
from tasks.fit_eigenbasis import fit_eigenbasis
from tasks.fit_factors import fit_factors
from tasks.ingest import catalogued, ingest
from tasks.score import score

ALONE = 1  # byte: every layer by itself
MIB = 2**20
SMALL = ScratchBase(
    kind="scratch", hidden_size=16, layers=3, heads=2, kv_heads=1, mlp_size=32, context=128, seed=0
)
COLUMNS = {"prompt": "asked", "response": "told", "answer": "told"}
ALL = FactorParams(modules="all", draws=2)
POSITION = ScoreParams(token_rule="position")
KEPT = ScoreParams(token_rule="position", energy=0.9)
TANGENT = ScoreParams(token_rule="loss_term")


def rows(folder, name, kind=Source, **more):
    path = Path(folder, f"{name}.jsonl")
    texts = [
        {"asked": f"{name} number {n}: what is {n} + {n}?", "told": f"It is {2 * n}."} for n in range(12)
    ]
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    return kind(name=name, domain="math", uri=str(path), mapping=COLUMNS, **more)


def attributed(root, shape, factors, scorings, **how):
    """Fit and score in a store of its own; return the context and the artifacts that came of it."""
    ctx = RunContext(ArtifactStore(f"{root}/store"), **{"micro_batch_tokens": 256, **how})
    given = {
        "checkpoint": base(ctx, params=shape),
        "corpus": ingest(ctx, params=catalogued([rows(root, "sums")], CleanParams(), need_response=True)),
    }
    bases = fit_eigenbasis(ctx, **given, params=factors)
    fitted = fit_factors(ctx, **given, eigenbasis=bases, params=factors)
    asked = catalogued([rows(root, "exam", Benchmark, judge="exact")], CleanParams(), need_response=False)
    query = QueryParams(tasks=("exam",), objective="reference", max_new_tokens=4)
    told = {"exam": {"definition": "questions", "version": "1"}}
    run = QueryRun.model_validate({"judges": {"exam": "exact"}, "asked": told, "query": query})
    queries = collect_queries(
        ctx, checkpoint=given["checkpoint"], benchmarks=ingest(ctx, params=asked), params=run
    )
    scores = [score(ctx, **given, factors=fitted, queries=queries, params=params) for params in scorings]
    return ctx, [bases, fitted, *scores]


def digests(ctx, artifacts):
    return [
        {name: part["sha256"] for name, part in ctx.store.manifest(artifact).parts.items()}
        for artifact in artifacts
    ]


def test_every_part_is_the_same_to_the_byte_whatever_memory_there_is(tmp_path):
    scorings = (POSITION, TANGENT, KEPT)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = attributed(tmp_path / "whole", SMALL, ALL, scorings)
    parts = attributed(tmp_path / "parts", SMALL, ALL, scorings, factor_bytes=ALONE)
    assert digests(*parts) == digests(*whole)
    assert len(digests(*parts)[0]) == SMALL.layers


def test_layers_that_an_interrupted_build_left_are_not_fitted_again(tmp_path):
    ctx, built = attributed(tmp_path, SMALL, ALL, (), factor_bytes=ALONE)
    before, folder = digests(ctx, built), Path(built[0].uri.removeprefix("file://"))
    names = [f"model.layers.{layer}.safetensors" for layer in range(SMALL.layers)]
    assert sorted(before[0]) == names
    (folder / "manifest.json").unlink()
    (folder / names[0]).unlink()
    written = [(folder / name).stat().st_mtime_ns for name in names[1:]]
    assert digests(*attributed(tmp_path, SMALL, ALL, (), factor_bytes=ALONE)) == before
    assert [(folder / name).stat().st_mtime_ns for name in names[1:]] == written


# Its covariances are 324 MiB; it is 14 MiB itself.
DEEP = ScratchBase(
    kind="scratch", hidden_size=32, layers=48, heads=2, kv_heads=2, mlp_size=768, context=128, seed=0
)

LIMIT, ROOM, NO_LIMIT = 81, 10, 0  # MiB: of everything, of factors


def limited(root: str, mebibytes: int, factor_mebibytes: int) -> None:
    """Fit and score with so much more memory than this process has by now; for a process of its own."""
    attributed(Path(root, "warm"), SMALL, FactorParams(), (POSITION,), factor_bytes=ALONE)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    most = int(status["VmData"].split()[0]) * 1024 + mebibytes * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    room = {"factor_bytes": factor_mebibytes * MIB} if factor_mebibytes else {}
    attributed(Path(root, "deep"), DEEP, FactorParams(), (POSITION,), micro_batch_tokens=1, **room)


@pytest.mark.slow
def test_a_model_whose_factors_are_four_times_the_memory_is_fitted_and_scored_some_layers_at_a_time(tmp_path):
    """The limit is the kernel's; without turns the same runs out of memory."""

    def run(factor_mebibytes):
        root = tmp_path / str(factor_mebibytes)
        (root / "warm").mkdir(parents=True)
        (root / "deep").mkdir()
        argv = [sys.executable, "-m", "tests.tasks.test_partitions", root, str(LIMIT), str(factor_mebibytes)]
        alone = dict.fromkeys(("OMP_NUM_THREADS", "MALLOC_ARENA_MAX", "POLARS_MAX_THREADS"), "1")
        # What is freed goes back to the kernel, which else counts it.
        alone |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "65536")
        return subprocess.run(argv, env=os.environ | alone, capture_output=True, text=True, check=False)

    turns = run(ROOM)
    assert turns.returncode == 0, turns.stderr[-2000:]
    at_once = run(NO_LIMIT)
    assert at_once.returncode != 0
    assert "allocate memory" in at_once.stderr or "MemoryError" in at_once.stderr


if __name__ == "__main__":
    limited(sys.argv[1], *map(int, sys.argv[2:]))
