"""The report of a run: what was asked, what happened, and every number behind it."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import polars as pl

from infra_core.attributes.steps import BEHAVIOUR
from infra_core.attributes.strata import strata
from infra_core.attributes.tokens import CLASS
from infra_core.attributes.variations import BAND
from infra_core.corpus.schema import (
    AGREEMENT,
    ANSWERS,
    DIRECTIONS,
    DROPPED,
    LEFT,
    LIKELIHOODS,
    MIXTURE,
    QUERY,
    RATINGS,
    SCREEN,
    Schema,
    distinct,
)
from infra_core.corpus.screen import refused
from infra_core.recipe import Params, Recipe
from infra_core.report import ReportInputs, build, draw, draw_stages, write_page
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, read_tables
from tasks._asked import QUERIES
from tasks._at_once import CORES
from tasks._attributes import (
    Corpus,
    cells_of,
    influence_of,
    read_steps,
    read_tokens,
    read_variations,
)
from tasks._factors import BATCH_DEPENDENT
from tasks._pools import pool_rows
from tasks._scored import Scored
from tasks._stage import RunContext, stage
from tasks._traces import read_traces
from tasks.drift import read_drift
from tasks.mix import LEFT_ROWS, MEASURED, MIXED, first_alike
from tasks.rate_difficulty import AGREED

Arms = Mapping[str, Mapping[str, Artifact]]
"""Arm → training seed → artifact."""

WITHOUT_TEXTS = {name: kind for name, kind in MIXTURE.items() if name not in {"prompt", "response", "tests"}}
NO_AGREEMENT = pl.DataFrame(schema=pl.Schema(AGREEMENT))
PACKAGES = ("infra", "torch", "transformers", "lm_eval", "polars")
SEEDED = ("cells", "strata", "steps", "tokens")


class ReportRun(Params):
    """What the report says was asked."""

    recipe: Recipe

    @classmethod
    def of(cls, given: Recipe) -> "ReportRun":
        """Take a recipe without places, so that moving raw files moves no key."""
        return cls(recipe=given.placeless())


@stage(version=6)
def report(
    ctx: RunContext,
    out: WorkDir,
    *,
    found: Mapping[str, Any],
    mixtures: Mapping[str, Artifact],
    evaluations: Arms,
    params: ReportRun,
) -> None:
    """Write `report.md`, `numbers.json` with every figure of it, `figures`, `timing.json` and `report.html`.

    `found` holds the pools (corpus, reserve, benchmarks), their ratings and screen, queries, scores, what
    each span and token is, perplexities, variations on the scores, the checkpoint that was scored, whose
    tokenizer says which token is which, and how far the corpus is from that checkpoint's own where they
    differ.
    """
    scores = found["scores"]
    exams = {arm: [runs[seed] for seed in sorted(runs, key=int)] for arm, runs in evaluations.items()}
    rated = read_table(ctx.store, found["ratings"], "ratings.parquet", RATINGS)
    screened = read_table(ctx.store, found["screen"], "screen.parquet", SCREEN)
    rows = pool_rows(ctx, found["corpus"], "example_id", "domain", "group")
    seeds = {name: derive_seed(params.recipe.seed, name) for name in SEEDED}
    # Rows that the screen refused are scored, since scoring is row-local, but nobody trains on them.
    corpus = Corpus.of(rows, refused(screened, "corpus"), rated, found, seeds)
    rules = params.recipe.scores.by_rule(scores, found.get("other_scores"))
    influence = influence_of(ctx, Scored(scores), corpus)
    # polars and numpy compute outside of Python's lock.
    with ThreadPoolExecutor(CORES) as workers:
        shown = workers.submit(
            read_traces,
            ctx,
            params.recipe,
            corpus=found["corpus"],
            checkpoint=found["checkpoint"],
            rules=rules,
            behaved=found["behaviours"],
            scored=influence.join(_shapes(rated), on="example_id", how="inner"),
        )
        by_token = workers.submit(
            read_tokens, ctx, {rule: Scored(each) for rule, each in rules.items()}, corpus
        )
        by_step = workers.submit(read_steps, ctx, Scored(scores), corpus)
        by_stratum = workers.submit(
            strata, influence, rated, _perplexities(ctx, found), corpus.problems, seed=seeds["strata"]
        )
        by_cell = workers.submit(cells_of, influence, corpus)
    tokens = by_token.result()
    own_tokens, *other_tokens = tokens.classes.values()
    own = {BAND: by_cell.result(), BEHAVIOUR: by_step.result(), CLASS: own_tokens}
    inputs = ReportInputs(
        recipe=params.recipe,
        answers=_by_arm(ctx, exams, "answers-*.parquet", ANSWERS),
        likelihoods=_by_arm(ctx, exams, "likelihoods-*.parquet", LIKELIHOODS),
        mixtures={
            arm: read_tables(ctx.store, made, WITHOUT_TEXTS, MIXED, wider=True)
            for arm, made in mixtures.items()
        },
        left={arm: read_table(ctx.store, made, LEFT_ROWS, LEFT) for arm, made in mixtures.items()},
        first_alike=first_alike(ctx, mixtures),
        directions=_written(ctx, mixtures, MEASURED, DIRECTIONS),
        agreement=_written(ctx, {"": found["ratings"]}, AGREED, AGREEMENT).get("", NO_AGREEMENT),
        cells=own[BAND],
        strata=by_stratum.result(),
        steps=own[BEHAVIOUR],
        tokens=own_tokens,
        other_tokens=other_tokens[0] if other_tokens else own_tokens.clear(),
        agreement_of_rules=tokens.agreement,
        words=tokens.words,
        variations=read_variations(ctx, params.recipe, found["varied"], own, corpus, scores),
        ratings=rated,
        screen=screened,
        queries=read_table(ctx.store, found["queries"], QUERIES, QUERY),
        dropped=_dropped(ctx, [found["corpus"], found["reserve"], found["benchmarks"]]),
        batch_dependence=_batch_dependence(ctx, scores),
        drift=read_drift(ctx, found.get("drift")),
        versions={name: version(name) for name in PACKAGES},
    )
    markdown, numbers = build(inputs)
    charts = draw(numbers)
    rests_on = [run for runs in exams.values() for run in runs] + [scores]
    stages = _stages(ctx, rests_on)
    page = write_page(markdown, numbers, charts | {"seconds": draw_stages(stages)}, stages, shown.result())
    texts = {
        "report.md": markdown,
        "numbers.json": json.dumps(numbers, indent=2, sort_keys=True, ensure_ascii=False),
        "timing.json": json.dumps(stages, indent=2),
        "report.html": page,
        **{f"figures/{name}.svg": chart.svg for name, chart in charts.items()},
    }
    pictures = {f"figures/{name}.png": chart.png() for name, chart in charts.items()}
    for name, content in ({name: text.encode() for name, text in texts.items()} | pictures).items():
        with out.open(name) as file:
            file.write(content)


def _written(
    ctx: RunContext, artifacts: Mapping[str, Artifact], part: str, schema: Schema
) -> dict[str, pl.DataFrame]:
    """Read a small table that some of the artifacts have beside their rows, as JSON."""
    return {
        name: pl.read_json(ctx.store.read(artifact, part), schema=pl.Schema(schema))
        for name, artifact in artifacts.items()
        if part in ctx.store.parts(artifact)
    }


def _by_arm(
    ctx: RunContext, exams: Mapping[str, list[Artifact]], pattern: str, schema: Mapping[str, pl.DataType]
) -> dict[str, list[pl.DataFrame]]:
    return {
        arm: [read_tables(ctx.store, run, schema, pattern) for run in runs] for arm, runs in exams.items()
    }


def _perplexities(ctx: RunContext, found: Mapping[str, Any]) -> pl.DataFrame:
    """Return the perplexity of every response under the model before fine-tuning."""
    columns = {name: LIKELIHOODS[name] for name in ("question_id", "nll", "scored_tokens")}
    told = read_tables(ctx.store, found["perplexity"], columns, wider=True)
    value = (pl.col("nll").cast(pl.Float64) / pl.col("scored_tokens")).exp()
    return told.filter(pl.col("scored_tokens") > 0).select(example_id="question_id", perplexity=value)


def _dropped(ctx: RunContext, pools: Sequence[Artifact | None]) -> pl.DataFrame:
    frames = [read_tables(ctx.store, pool, DROPPED, "dropped-*.parquet") for pool in pools if pool]
    return pl.concat(frames)


def _shapes(rated: pl.DataFrame) -> pl.DataFrame:
    """Return how long each row of the corpus is, and how hard."""
    once = distinct(rated.filter(pl.col("pool") == "corpus"))
    tokens = pl.col("prompt_tokens").cast(pl.Int64) + pl.col("response_tokens")
    return once.select("example_id", "band", tokens=tokens)


def _stages(ctx: RunContext, artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Return all that these rest on, with seconds and host: what differs between runs, and nothing else."""
    rows: list[dict[str, Any]] = []
    for depth, found in ancestors(ctx.store, *artifacts):
        if isinstance(found, Artifact):
            manifest = ctx.store.manifest(found)
            about = {"stage": found.stage, "key": found.key, "depth": depth, "seconds": manifest.seconds}
            rows.append(about | {"host": manifest.provenance.get("hostname", "")})
    return rows


def _batch_dependence(ctx: RunContext, scores: Artifact) -> str:
    """Return what fitting noted of gradients that feel what shares their batch; nothing if they do not."""
    fitted = (found for _, found in ancestors(ctx.store, scores) if isinstance(found, Artifact))
    notes = (ctx.store.manifest(found).provenance.get(BATCH_DEPENDENT, "") for found in fitted)
    return next(filter(None, notes), "")
