"""Global looks over all pools: duplicates across sources, overlap with the benchmarks."""

from collections.abc import Mapping

import polars as pl

from infra_core.corpus.near import Texts, signatures
from infra_core.corpus.overlap import QuestionIndex
from infra_core.corpus.schema import OVERLAPS, SCREEN, SIGNATURES
from infra_core.corpus.screen import screen as screened
from infra_core.recipe import ScreenParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import reread_table, table_names, write_table
from tasks._pools import pool_parts, pool_rows, scan_pool
from tasks._progress import progress
from tasks._stage import RunContext, stage

Kinds = Mapping[str, Mapping[str, object]]
"""What is noted of each corpus part → all that decides it, beside the part's text."""


@stage(version=2)
def screen(
    ctx: RunContext,
    out: WorkDir,
    *,
    corpus: Artifact,
    reserve: Artifact | None,
    benchmarks: Artifact,
    params: ScreenParams,
) -> None:
    """Write one row for every corpus or reserve row that is a duplicate, contaminated or suspect.

    What is found row by row is written part by part, and found again only for parts whose text is new; what
    takes a look at all rows looks at those notes.
    """
    pools = {name: pool for name, pool in (("corpus", corpus), ("reserve", reserve)) if pool is not None}
    rule = {"ngram": params.ngram, "drop": params.drop_containment, "suspect": params.suspect_containment}
    kinds: Kinds = {
        "signatures": {},
        **({"overlaps": {"benchmarks": benchmarks.key, **rule}} if params.decontaminate else {}),
    }
    names = {name: table_names(ctx.store, pool) for name, pool in pools.items()}
    for name, pool in pools.items():
        identities = _identities(ctx, pool, names[name], kinds)
        _note(ctx, out, pool, identities, params, benchmarks)
    scans = [scan_pool(ctx, pool, "example_id", "prompt") for pool in pools.values()]
    verdicts = screened(
        {pool: _noted(out, "signatures", parts, SIGNATURES) for pool, parts in names.items()},
        {
            pool: _noted(out, "overlaps", parts, OVERLAPS)
            for pool, parts in names.items()
            if "overlaps" in kinds
        },
        _looking_up(scans),
        params,
    )
    write_table(out, "screen.parquet", verdicts, SCREEN)


def _identities(
    ctx: RunContext, pool: Artifact, names: list[str], kinds: Kinds
) -> dict[str, dict[str, object]]:
    parts = ctx.store.manifest(pool).parts
    return {
        f"{kind}-{name}": {"text": parts[name]["sha256"], "kind": kind, **decided}
        for name in names
        for kind, decided in kinds.items()
    }


def _note(
    ctx: RunContext,
    out: WorkDir,
    pool: Artifact,
    identities: Mapping[str, Mapping[str, object]],
    params: ScreenParams,
    benchmarks: Artifact,
) -> None:
    """Write what is to be known of each part's rows: signatures, and overlaps with the benchmarks."""
    pending = set(out.pending(identities))
    wanted = {name.partition("-")[2] for name in pending}
    if not wanted:
        return
    index = QuestionIndex(pool_rows(ctx, benchmarks), params) if params.decontaminate else None
    with progress("screen, parts", len(wanted)) as update:
        for done, (name, rows) in enumerate(pool_parts(ctx, pool, only=wanted), 1):
            if f"signatures-{name}" in pending:
                write_table(out, f"signatures-{name}", signatures(rows), SIGNATURES)
            if index is not None and f"overlaps-{name}" in pending:
                write_table(out, f"overlaps-{name}", index.overlaps(rows), OVERLAPS)
            update(done)


def _noted(out: WorkDir, kind: str, parts: list[str], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    frames = [reread_table(out, f"{kind}-{name}", schema) for name in parts]
    return pl.concat([pl.DataFrame(schema=dict(schema)), *frames])


def _looking_up(scans: list[pl.LazyFrame]) -> Texts:
    rows = pl.concat(scans)

    def texts(example_ids: list[str]) -> pl.DataFrame:
        return rows.filter(pl.col("example_id").is_in(example_ids)).collect()

    return texts
