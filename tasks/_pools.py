"""The pools of a run as tables."""

import polars as pl

from infra_core.corpus.schema import CORPUS
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_tables
from tasks._stage import RunContext


def pool_rows(ctx: RunContext, pool: Artifact | None) -> pl.DataFrame:
    """Return all kept rows of a pool; none if the run has no such pool. A mixture reads as a corpus."""
    return pl.DataFrame(schema=CORPUS) if pool is None else read_tables(ctx.store, pool, CORPUS, wider=True)
