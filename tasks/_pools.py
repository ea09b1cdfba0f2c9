"""The pools of a run as tables: a few columns of all rows, part by part, or as a query."""

from collections.abc import Collection, Iterator

import polars as pl

from infra_core.corpus.schema import CORPUS, Schema
from infra_core.store.artifact import Artifact
from infra_core.store.tables import each_table, read_tables, scan_tables, table_names
from tasks._stage import RunContext


def pool_rows(ctx: RunContext, pool: Artifact | None, *columns: str) -> pl.DataFrame:
    """Return all kept rows of a pool, of all columns or of these; none if the run has no such pool.

    A mixture reads as a corpus. Texts of a large pool do not fit in memory: name the columns that are needed.
    """
    schema = _only(columns)
    return pl.DataFrame(schema=schema) if pool is None else read_tables(ctx.store, pool, schema, wider=True)


def pool_parts(
    ctx: RunContext, pool: Artifact, *columns: str, only: Collection[str] | None = None
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield name and rows of each part of a pool, or of those named, in order, holding one at a time."""
    names = [name for name in table_names(ctx.store, pool) if only is None or name in only]
    yield from each_table(ctx.store, pool, _only(columns), names, wider=True)


def scan_pool(ctx: RunContext, pool: Artifact | None, *columns: str) -> pl.LazyFrame:
    """Return the rows of a pool as a query: join it with a table of decisions by `example_id`, then sink."""
    schema = _only(columns)
    return pl.LazyFrame(schema=schema) if pool is None else scan_tables(ctx.store, pool, schema)


def _only(columns: tuple[str, ...]) -> Schema:
    return {column: CORPUS[column] for column in columns or CORPUS}
