"""What retraining and planted rows say of a recipe's scores and of their rivals: a page, and its numbers."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import polars as pl

from infra_core.corpus.segment import Rule as Division
from infra_core.recipe import Params, Recipe, ValidityParams
from infra_core.report.validity import Cost, ValidityInputs, build
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, read_tables
from infra_core.validity.agreement import agreements
from infra_core.validity.curves import left_out
from infra_core.validity.designs import SUBSETS
from infra_core.validity.detection import CLEAN, Detection, find_rows, find_spans, mark_noise
from infra_core.validity.judging import OUTCOMES, SCORE_TABLE, judge
from infra_core.validity.planted import TRUTH
from infra_core.validity.tail_patch import PATCHED, Patched, judge_patches
from tasks._ablated import read_ablations
from tasks._asked import asked_queries
from tasks._evidence import span_influence
from tasks._pools import pool_rows
from tasks._stage import RunContext, stage
from tasks.draw_subsets import DRAWN
from tasks.plant import TOLD
from tasks.rivals import cost_part, score_part

PACKAGES = ("infra", "torch", "transformers", "polars", "scipy", "scikit-learn", "bm25s")


class AssessRun(Params):
    """What the page says was asked, and the seed of its resampling."""

    name: str
    methods: tuple[str, ...]
    left_out: tuple[float, ...]
    spans: Division | None  # that the recipe scores; none: planted spans are not looked for
    max_tokens: int | None = None  # longer rows were not trained on; none: nothing was masked
    seed: int

    @classmethod
    def of(cls, given: Recipe, asked: ValidityParams) -> "AssessRun":
        """Take a recipe's name, spans and methods."""
        return cls(
            name=given.name,
            methods=asked.names,
            left_out=asked.left_out,
            spans=given.scores.spans,
            max_tokens=given.train.max_tokens if asked.ablated else None,
            seed=derive_seed(given.seed, "assess"),
        )


@stage(version=2)
def assess(  # noqa: PLR0913 - inputs of a stage
    ctx: RunContext,
    out: WorkDir,
    *,
    subsets: Artifact,
    outcomes: Artifact,
    scores: Artifact,
    queries: Artifact,
    planted: Mapping[str, Artifact],
    patched: Artifact | None,
    ablated: Mapping[str, Any] | None = None,
    params: AssessRun,
) -> None:
    """Write `report.md`, and `numbers.json` with every figure of it.

    `planted` holds, if rows were planted, these `rows`, the `model` trained on them, its `influence` by
    example and span, and its `scores` by each method.
    `patched` is there if a further step was taken on the rows of each method.
    `ablated` holds, if labels were masked, the `mixtures` of each, the `scores` by token rule, the
    `tokenizer`, and the `benchmarks` that queries are of.
    """
    drawn = read_table(ctx.store, subsets, DRAWN, SUBSETS)
    asked = asked_queries(ctx, queries)
    told, tables = read_tables(ctx.store, outcomes, OUTCOMES), _tables(ctx, scores, params)
    inputs = ValidityInputs(
        name=params.name,
        seed=params.seed,
        verdicts=judge(told, drawn, tables, params.seed),
        costs={
            method: Cost(**json.loads(ctx.store.read(scores, cost_part(method)))) for method in params.methods
        },
        rows=drawn["example_ids"].explode().n_unique(),
        queries=dict(asked.group_by("group", maintain_order=True).len().rows()),
        alike=agreements(tables, asked["group"].to_list(), params.seed),
        left_out=left_out(told, params.left_out, params.seed),
        ablations=read_ablations(ctx, ablated, told, asked, params.max_tokens, params.spans, params.seed)
        if ablated and params.max_tokens and params.spans
        else None,
        patched=_patched(ctx, patched, params) if patched else [],
        found_rows=_found_rows(ctx, planted, asked["group"].to_list(), params) if planted else {},
        found_spans=_found_spans(ctx, planted, params.spans, params.seed)
        if planted and params.spans
        else None,
        versions={name: version(name) for name in PACKAGES},
    )
    markdown, numbers = build(inputs)
    for part, text in {
        "report.md": markdown,
        "numbers.json": json.dumps(numbers, indent=2, sort_keys=True, ensure_ascii=False),
    }.items():
        with out.open(part) as file:
            file.write(text.encode())


def _tables(ctx: RunContext, scores: Artifact, params: AssessRun) -> dict[str, pl.DataFrame]:
    return {
        method: read_table(ctx.store, scores, score_part(method), SCORE_TABLE) for method in params.methods
    }


def _patched(ctx: RunContext, patched: Artifact, params: AssessRun) -> list[Patched]:
    tables = {
        method: read_table(ctx.store, patched, score_part(method), PATCHED) for method in params.methods
    }
    return judge_patches(tables, params.seed)


def _found_rows(
    ctx: RunContext, planted: Mapping[str, Artifact], groups: list[str], params: AssessRun
) -> dict[str, list[Detection]]:
    truth = _truth(ctx, planted)
    rows = (
        pool_rows(ctx, planted["rows"], "example_id", "domain")
        .join(truth.select("example_id", "kind"), on="example_id", how="left", maintain_order="left")
        .with_columns(pl.col("kind").fill_null(CLEAN))
    )
    tables = _tables(ctx, planted["scores"], params)
    return {method: find_rows(rows, each, groups, params.seed) for method, each in tables.items()}


def _found_spans(
    ctx: RunContext, planted: Mapping[str, Artifact], division: Division, seed: int
) -> Detection | None:
    """Look for noise among the spans of rows that are clean but for it, by the engine's span influence."""
    truth = _truth(ctx, planted)
    others = truth.filter(pl.col("kind") != "noise").select("example_id")
    spans = span_influence(ctx, division, planted["model"], planted["influence"], planted["rows"]).join(
        others, on="example_id", how="anti"
    )
    domains = pool_rows(ctx, planted["rows"], "example_id", "domain")
    looked_at = (
        mark_noise(spans, truth)
        .join(domains, on="example_id", how="left", maintain_order="left")
        .filter(pl.col("group").str.starts_with(pl.col("domain") + "/") & (pl.col("tokens") > 0))
        .select("domain", "noise", influence=pl.col("influence") / pl.col("tokens"))
    )
    return find_spans(looked_at, seed) if looked_at["noise"].any() else None


def _truth(ctx: RunContext, planted: Mapping[str, Artifact]) -> pl.DataFrame:
    return pl.read_json(ctx.store.read(planted["rows"], TOLD), schema=pl.Schema(TRUTH))
