"""Stages that take some layers at a time write the bytes that they write otherwise, in less memory."""

import json
from pathlib import Path

from infra_core.influence import factors_from_tensors
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
from tasks._factors import read_layers
from tasks._stage import RunContext
from tasks.base import base
from tasks.collect_queries import QueryRun, collect_queries
from tasks.fit_eigenbasis import fit_eigenbasis
from tasks.fit_factors import fit_factors
from tasks.ingest import catalogued, ingest
from tasks.score import score

ALONE = 1  # byte: every layer by itself
SMALL = ScratchBase(
    kind="scratch", hidden_size=16, layers=3, heads=2, kv_heads=1, mlp_size=32, context=128, seed=0
)
COLUMNS = {"prompt": "asked", "response": "told", "answer": "told"}
ALL = FactorParams(modules="all", draws=2)
POSITION = ScoreParams(token_rule="position")
KEPT = ScoreParams(token_rule="position", energy=0.9)
TANGENT = ScoreParams(token_rule="loss_term")


def rows(folder, name, kind=Source, count=12, **more):
    path = Path(folder, f"{name}.jsonl")
    texts = [
        {"asked": f"{name} number {n}: what is {n} + {n}?", "told": f"It is {2 * n}."} for n in range(count)
    ]
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    return kind(name=name, domain="math", uri=str(path), mapping=COLUMNS, **more)


def ingested(ctx, *sources):
    return ingest(ctx, params=catalogued(sources, CleanParams(), need_response=True))


def prepared(root, shape, **how):
    """A store of its own with a model, a corpus and queries; returns context, the first two, and the last."""
    ctx = RunContext(ArtifactStore(f"{root}/store"), **{"micro_batch_tokens": 256, **how})
    given = {"checkpoint": base(ctx, params=shape), "corpus": ingested(ctx, rows(root, "sums"))}
    asked = catalogued([rows(root, "exam", Benchmark, judge="exact")], CleanParams(), need_response=False)
    query = QueryParams(tasks=("exam",), objective="reference", max_new_tokens=4)
    told = {"exam": {"definition": "questions", "version": "1"}}
    run = QueryRun.model_validate({"judges": {"exam": "exact"}, "asked": told, "query": query})
    queries = collect_queries(
        ctx, checkpoint=given["checkpoint"], benchmarks=ingest(ctx, params=asked), params=run
    )
    return ctx, given, queries


def fitted(ctx, given, factors):
    bases = fit_eigenbasis(ctx, **given, params=factors)
    return bases, fit_factors(ctx, **given, eigenbasis=bases, params=factors)


def attributed(root, shape, factors, scorings, **how):
    """Fit and score in a store of its own; return the context and the artifacts that came of it."""
    ctx, given, queries = prepared(root, shape, **how)
    bases, found = fitted(ctx, given, factors)
    scores = [score(ctx, **given, factors=found, queries=queries, params=params) for params in scorings]
    return ctx, [bases, found, *scores]


def digests(ctx, artifacts):
    return [
        {name: part["sha256"] for name, part in ctx.store.manifest(artifact).parts.items()}
        for artifact in artifacts
    ]


def test_every_part_is_the_same_to_the_byte_whatever_memory_there_is(tmp_path):
    scorings = (POSITION, TANGENT, KEPT)
    places = {"whole": {}, "parts": {"factor_bytes": ALONE}, "host": {"factor_bytes": ALONE, "on_host": True}}
    found = {}
    for name, how in places.items():
        (tmp_path / name).mkdir()
        found[name] = digests(*attributed(tmp_path / name, SMALL, ALL, scorings, **how))
    assert found["parts"] == found["host"] == found["whole"]
    assert len(found["parts"][0]) == SMALL.layers


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


def test_weights_and_factors_are_safetensors_and_factors_are_mapped_in_place(tmp_path):
    """No file that is unpickled, and no copy in memory of what lies on the disk."""
    ctx, given, _ = prepared(tmp_path, SMALL)
    bases, found = fitted(ctx, given, FactorParams())
    weights = [
        name for name in ctx.store.parts(given["checkpoint"]) if not name.endswith((".json", ".jinja"))
    ]
    assert weights == ["model/model.safetensors"]
    assert {Path(name).suffix for each in (bases, found) for name in ctx.store.parts(each)} == {
        ".safetensors"
    }
    names = [f"model.layers.{layer}.mlp.up_proj" for layer in range(SMALL.layers)]
    held = read_layers(ctx, found, factors_from_tensors, names)
    assert set(names) <= set(held)
    mapped = Path("/proc/self/maps").read_text()
    assert all(f"{found.key}/{name}" in mapped for name in ctx.store.parts(found))
