"""Our side of the corpus measurement: the stages from raw files to a mixture, in a run of two workers."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from prefect import flow

from benchmarks.corpus_rows import SOURCES
from benchmarks.stopwatch import Stopwatch
from infra_core.corpus.schema import SCREEN
from infra_core.recipe import (
    Benchmark,
    CleanParams,
    ColumnMapping,
    KeepAll,
    MixParams,
    RateParams,
    ScratchBase,
    ScreenParams,
    Source,
)
from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table
from tasks._pools import pool_rows
from tasks._shares import workers_at_hand
from tasks._stage import RunContext
from tasks.base import base
from tasks.ingest import catalogued, ingest
from tasks.mix import mix
from tasks.rate_difficulty import rate_difficulty
from tasks.screen import screen

VERIFIED = 0.01  # of the rows
WORKERS = 2
COUNTER = ScratchBase(
    kind="scratch", hidden_size=16, layers=1, heads=1, kv_heads=1, mlp_size=16, context=64
)  # the tokenizer of models made from scratch: a token a character
MAPPING = ColumnMapping(prompt="problem", response="solution", answer="answer", difficulty="level")


@flow(name="corpus benchmark")
def to_mixture(folder: Path, store: Path) -> dict[str, object]:
    """Go from raw files to a mixture: seconds by stage, and what was found of what was planted.

    Seconds hold the starting of the workers.
    """
    with workers_at_hand():
        return _to_mixture(RunContext(ArtifactStore(str(store)), workers=WORKERS), folder)


def _to_mixture(ctx: RunContext, folder: Path) -> dict[str, object]:
    watch = Stopwatch()
    sources = [
        Source(name=name, domain="math", uri=str(folder / "train" / name), mapping=MAPPING)
        for name in SOURCES
    ]
    exam = Benchmark(
        name="exam", domain="math", uri=str(folder / "questions.jsonl"), mapping=MAPPING, judge="math"
    )
    clean = CleanParams(verify=VERIFIED)
    counter = base(ctx, params=COUNTER)
    with watch.timing("ingest"):
        corpus = ingest(ctx, params=catalogued(sources, clean, need_response=True))
        questions = ingest(ctx, params=catalogued([exam], clean, need_response=False))
    pools = {"corpus": corpus, "reserve": None, "benchmarks": questions}
    with watch.timing("screen"):
        looked = screen(ctx, **pools, params=ScreenParams())
    with watch.timing("rate"):
        ratings = rate_difficulty(ctx, **pools, base=counter, params=RateParams())
    with watch.timing("mix"):
        everything = MixParams(rule=KeepAll(kind="keep_all"), seed=0)
        mix(ctx, corpus=corpus, reserve=None, ratings=ratings, screen=looked, params=everything)
    found = dict(Counter(_found(ctx, folder, corpus, looked)))
    return {
        "seconds": watch.seconds,
        "found": [
            {"kind": kind, "edit": edit, "verdict": says, "rows": n}
            for (kind, edit, says), n in found.items()
        ],
    }


def _found(
    ctx: RunContext, folder: Path, corpus: Artifact, looked: Artifact
) -> Iterator[tuple[str, str, str]]:
    """Yield kind, edit and verdict of every planted row that was kept, and of every other that is listed."""
    planted = {
        row["id"]: (row["kind"], row["edit"]) for row in map(json.loads, (folder / "truth.jsonl").open())
    }
    screened = read_table(ctx.store, looked, "screen.parquet", SCREEN).select("example_id", "verdict")
    rows = pool_rows(ctx, corpus, "example_id", "raw_ref", "source").join(
        screened, on="example_id", how="left"
    )
    told = rows.select("source", "raw_ref", pl.col("verdict").fill_null("fine"))
    verdicts = {(source, reference): verdict for source, reference, verdict in told.iter_rows()}
    for reference, row in _raw(folder):
        verdict = verdicts.get(reference, "dropped")
        if row in planted or verdict not in {"fine", "dropped"}:
            yield *planted.get(row, ("plain", "none")), verdict


def _raw(folder: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield source and reference of every raw row, and its id."""
    for file in sorted((folder / "train").rglob("*.jsonl")):
        for line, text in enumerate(file.open(), 1):
            yield (file.parent.name, f"{file.name}#{line}"), json.loads(text)["id"]
