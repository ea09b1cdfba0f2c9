"""Global looks over all pools: duplicates across sources, overlap with the benchmarks."""

from infra_core.corpus.screen import screen as screened

from infra_core.corpus.schema import CORPUS, SCREEN
from infra_core.recipe import ScreenParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_tables, write_table
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
        read_tables(ctx.store, corpus, CORPUS),
        read_tables(ctx.store, reserve, CORPUS) if reserve else None,
        read_tables(ctx.store, benchmarks, CORPUS),
        params,
    )
    write_table(out, "screen.parquet", verdicts, SCREEN)
