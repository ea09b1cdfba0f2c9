"""The report of a run: what was asked, what happened, and every number behind it."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import polars as pl

from infra_core.attributes.cells import cells
from infra_core.corpus.schema import ANSWERS, DROPPED, LIKELIHOODS, MIXTURE, QUERY, RATINGS, SCORES, SCREEN
from infra_core.corpus.screen import refused
from infra_core.recipe import Params, Recipe
from infra_core.report import ReportInputs, build
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, read_tables
from tasks._pools import pool_rows
from tasks._stage import RunContext, stage

Arms = Mapping[str, Mapping[str, Artifact]]
"""Arm → training seed → artifact."""

PACKAGES = ("infra", "torch", "transformers", "lm_eval", "polars")


class ReportRun(Params):
    """What the report says was asked."""

    recipe: Recipe

    @classmethod
    def of(cls, given: Recipe) -> "ReportRun":
        """Take a recipe without places, so that moving raw files moves no key."""
        return cls(recipe=given.placeless())


@stage(version=4)
def report(
    ctx: RunContext,
    out: WorkDir,
    *,
    found: Mapping[str, Any],
    mixtures: Mapping[str, Artifact],
    evaluations: Arms,
    params: ReportRun,
) -> None:
    """Write `report.md`, `numbers.json` with every figure of it, and `timing.json`.

    `found` holds the pools (corpus, reserve, benchmarks), their ratings and screen, the queries and scores.
    """
    scores = found["scores"]
    exams = {arm: [runs[seed] for seed in sorted(runs, key=int)] for arm, runs in evaluations.items()}
    rated = read_table(ctx.store, found["ratings"], "ratings.parquet", RATINGS)
    screened = read_table(ctx.store, found["screen"], "screen.parquet", SCREEN)
    # Rows that the screen refused are scored, since scoring is row-local, but nobody trains on them.
    unused = refused(screened, "corpus")
    scored = read_tables(ctx.store, scores, SCORES).join(unused, on="example_id", how="anti")
    seed = derive_seed(params.recipe.seed, "cells")
    inputs = ReportInputs(
        recipe=params.recipe,
        answers=_by_arm(ctx, exams, "answers-*.parquet", ANSWERS),
        likelihoods=_by_arm(ctx, exams, "likelihoods-*.parquet", LIKELIHOODS),
        mixtures={arm: read_tables(ctx.store, made, MIXTURE) for arm, made in mixtures.items()},
        cells=cells(scored, rated, pool_rows(ctx, found["corpus"]), seed=seed),
        ratings=rated,
        screen=screened,
        queries=read_table(ctx.store, found["queries"], "queries.parquet", QUERY),
        dropped=_dropped(ctx, [found["corpus"], found["reserve"], found["benchmarks"]]),
        versions={name: version(name) for name in PACKAGES},
    )
    markdown, numbers = build(inputs)
    with out.open("report.md") as file:
        file.write(markdown.encode())
    with out.open("numbers.json") as file:
        file.write(json.dumps(numbers, indent=2, sort_keys=True, ensure_ascii=False).encode())
    rests_on = [run for runs in exams.values() for run in runs] + [scores]
    with out.open("timing.json") as file:
        file.write(json.dumps(_timing(ctx, rests_on), indent=2).encode())


def _by_arm(
    ctx: RunContext, exams: Mapping[str, list[Artifact]], pattern: str, schema: Mapping[str, pl.DataType]
) -> dict[str, list[pl.DataFrame]]:
    return {
        arm: [read_tables(ctx.store, run, schema, pattern) for run in runs] for arm, runs in exams.items()
    }


def _dropped(ctx: RunContext, pools: Sequence[Artifact | None]) -> pl.DataFrame:
    frames = [read_tables(ctx.store, pool, DROPPED, "dropped-*.parquet") for pool in pools if pool]
    return pl.concat(frames)


def _timing(ctx: RunContext, artifacts: list[Artifact]) -> list[dict[str, object]]:
    """Return seconds and host of all that these rest on: the one part that differs between runs."""
    rows: list[dict[str, object]] = []
    for _, found in ancestors(ctx.store, *artifacts):
        if isinstance(found, Artifact):
            manifest = ctx.store.manifest(found)
            host = manifest.provenance.get("hostname", "")
            rows.append({"stage": found.stage, "key": found.key, "seconds": manifest.seconds, "host": host})
    return rows
