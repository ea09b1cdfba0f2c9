"""Global looks over all pools: duplicates across sources, overlap with the benchmarks."""

from infra_core.corpus.schema import SCREEN
from infra_core.corpus.screen import screen as screened
from infra_core.recipe import ScreenParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._pools import pool_rows
from tasks._stage import RunContext, stage


@stage(version=1)
def screen(
    ctx: RunContext,
    out: WorkDir,
    *,
    corpus: Artifact,
    reserve: Artifact | None,
    benchmarks: Artifact,
    params: ScreenParams,
) -> None:
    """Write one row for every corpus or reserve row that is a duplicate, contaminated or suspect."""
    verdicts = screened(
        pool_rows(ctx, corpus),
        pool_rows(ctx, reserve),
        pool_rows(ctx, benchmarks),
        params,
    )
    write_table(out, "screen.parquet", verdicts, SCREEN)
