"""Global looks over all pools: duplicates across sources, overlap with the benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.near import Texts, signatures
from infra_core.corpus.overlap import QuestionIndex
from infra_core.corpus.schema import OVERLAPS, SCREEN, SIGNATURES, Schema
from infra_core.corpus.screen import screen as screened
from infra_core.corpus.words import problem_table
from infra_core.recipe import ScreenParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import reread_table, table_names, write_table
from tasks._at_once import several_at_once
from tasks._pools import pool_parts, pool_rows, scan_pool
from tasks._progress import progress
from tasks._row_local import Identities, of_texts
from tasks._shares import share_out
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
    takes a look at all rows looks at those notes. `overlaps.parquet` says what of a benchmark stands where.
    """
    pools = {name: pool for name, pool in (("corpus", corpus), ("reserve", reserve)) if pool is not None}
    rule = {"ngram": params.ngram, "drop": params.drop_containment, "suspect": params.suspect_containment}
    kinds: Kinds = {
        "signatures": {},
        **({"overlaps": {"benchmarks": benchmarks.key, **rule}} if params.decontaminate else {}),
    }
    for pool in pools.values():
        units = _by_part(out.pending(_identities(ctx, pool, kinds)))
        share_out(ctx, out, note_parts, units, Noting(pool, benchmarks, params))
    names = {name: table_names(ctx.store, pool) for name, pool in pools.items()}
    scans = [scan_pool(ctx, pool, "example_id", "prompt") for pool in pools.values()]
    overlaps = {
        pool: _noted(out, "overlaps", parts, OVERLAPS) for pool, parts in names.items() if "overlaps" in kinds
    }
    verdicts = screened(
        {pool: _noted(out, "signatures", parts, SIGNATURES) for pool, parts in names.items()},
        overlaps,
        _looking_up(scans),
        params,
        sources=[name for pool in pools.values() for name in _sources(ctx, pool)],
    )
    found = pl.concat([pl.DataFrame(schema=dict(OVERLAPS)), *overlaps.values()])
    write_table(out, "overlaps.parquet", found, OVERLAPS)
    write_table(out, "screen.parquet", verdicts, SCREEN)


def _identities(ctx: RunContext, pool: Artifact, kinds: Kinds) -> Identities:
    found = (of_texts(ctx, pool, f"{kind}-", kind=kind, **decided) for kind, decided in kinds.items())
    return {name: identity for one in found for name, identity in one.items()}


def _by_part(notes: Sequence[str]) -> list[tuple[str, frozenset[str]]]:
    """Return each part of the pool with what is still to be noted of it."""
    found: dict[str, set[str]] = {}
    for note in notes:
        found.setdefault(note.partition("-")[2], set()).add(note)
    return [(part, frozenset(wanted)) for part, wanted in sorted(found.items())]


@dataclass(frozen=True)
class Noting:
    """What looking at the parts of a pool needs."""

    pool: Artifact
    benchmarks: Artifact
    params: ScreenParams


def note_parts(
    ctx: RunContext, out: WorkDir, units: Sequence[tuple[str, frozenset[str]]], given: Noting
) -> None:
    """Write what is to be known of the rows of some parts: signatures, and overlaps with the benchmarks."""
    params, wanted = given.params, dict(units)
    index = QuestionIndex(pool_rows(ctx, given.benchmarks), params) if params.decontaminate else None

    def look(part: tuple[str, pl.DataFrame]) -> dict[str, tuple[pl.DataFrame, Schema]]:
        name, rows = part
        asked, found = problem_table(rows["prompt"]), {}
        if (note := f"signatures-{name}") in wanted[name]:
            found[note] = (signatures(rows, asked), SIGNATURES)
        if index is not None and (note := f"overlaps-{name}") in wanted[name]:
            found[note] = (index.overlaps(rows, asked), OVERLAPS)
        return found

    with progress("screen, parts", len(wanted)) as update:
        parts = pool_parts(ctx, given.pool, only=wanted)
        for done, found in enumerate(several_at_once(look, parts), 1):
            for name, (table, schema) in found.items():
                write_table(out, name, table, schema)
            update(done)


def _noted(out: WorkDir, kind: str, parts: list[str], schema: Schema) -> pl.DataFrame:
    frames = [reread_table(out, f"{kind}-{name}", schema) for name in parts]
    return pl.concat([pl.DataFrame(schema=dict(schema)), *frames])


def _sources(ctx: RunContext, pool: Artifact) -> list[str]:
    """Return the names of a pool's sources in the recipe's order, which names of parts do not keep."""
    return [entry["declared"]["name"] for entry in ctx.store.manifest(pool).params["sources"]]


def _looking_up(scans: list[pl.LazyFrame]) -> Texts:
    rows = pl.concat(scans)

    def texts(example_ids: list[str]) -> pl.DataFrame:
        return rows.filter(pl.col("example_id").is_in(example_ids)).collect()

    return texts
