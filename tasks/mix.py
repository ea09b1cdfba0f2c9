"""A mixture rule applied: what stays, what leaves, what comes in, and why."""

from collections.abc import Iterator, Mapping

import polars as pl

from infra_core.corpus.schema import LEFT, MIXTURE, RATINGS, SCREEN
from infra_core.mixture import COLUMNS, assemble, carry_out, decide, open_pools
from infra_core.recipe import MixParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, table_writer, write_table
from tasks._evidence import read_evidence
from tasks._pools import pool_parts, pool_rows
from tasks._stage import RunContext, stage
from tasks.ingest import require_rows

MIXED, LEFT_ROWS = "mixture.parquet", "dropped-rows.parquet"
MEASURED = "directions.json"


@stage(version=2)
def mix(  # noqa: PLR0913 - inputs of a stage
    ctx: RunContext,
    out: WorkDir,
    *,
    corpus: Artifact,
    reserve: Artifact | None,
    ratings: Artifact,
    screen: Artifact,
    evidence: Mapping[str, Artifact] | None = None,
    params: MixParams,
) -> None:
    """Write the mixture, a corpus with a few more columns, and the rows that left, with their reasons.

    The rule decides without texts. These are then read, joined with the decision and written part by part, so
    that a corpus of any size is mixed in bounded memory. `evidence` is what the rule asks for beside.
    """
    pools = open_pools(
        pool_rows(ctx, corpus, *COLUMNS),
        pool_rows(ctx, reserve, *COLUMNS),
        read_table(ctx.store, ratings, "ratings.parquet", RATINGS),
        read_table(ctx.store, screen, "screen.parquet", SCREEN),
        params.families,
    )
    known = read_evidence(ctx, params, evidence or {}, pools, corpus)
    coming, gone = carry_out(decide(params, pools, known), pools)
    require_rows(coming.height, f"mixture {params.rule.kind}")
    with table_writer(out, MIXED, MIXTURE) as append:
        for texts, here in _placed_parts(ctx, {"corpus": corpus, "reserve": reserve}, coming):
            append(assemble(texts, here))
    write_table(out, LEFT_ROWS, gone, LEFT)
    if known.directions is not None:
        with out.open(MEASURED) as file:
            file.write(known.directions.write_json().encode())


def first_alike(ctx: RunContext, mixtures: Mapping[str, Artifact]) -> dict[str, str]:
    """Return, of each arm, the first one whose mixture is the same to the byte: itself, where none is."""
    first: dict[str, str] = {}
    return {
        arm: first.setdefault(ctx.store.manifest(made).parts[MIXED]["sha256"], arm)
        for arm, made in mixtures.items()
    }


def _placed_parts(
    ctx: RunContext, pools: Mapping[str, Artifact | None], coming: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield, part by part, rows of the pools that say which they are, and what is decided of them."""
    for name, pool in pools.items():
        decided, first = coming.filter(pl.col("pool") == name), 0
        for _, rows in pool_parts(ctx, pool) if pool is not None else ():
            placed = rows.with_row_index("place", offset=first).cast({"place": pl.Int64()})
            here = decided.filter(pl.col("place").is_between(first, first + rows.height, closed="left"))
            first += rows.height
            if here.height:
                yield placed, here
