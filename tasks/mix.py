"""A mixture rule applied: what stays, what leaves, what comes in, and why."""

from infra_core.corpus.schema import MIXTURE, RATINGS, SCREEN
from infra_core.mixture import mix as mixed
from infra_core.recipe import MixParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, write_table
from tasks._pools import pool_rows
from tasks._stage import RunContext, stage
from tasks.ingest import require_rows


@stage(version=1)
def mix(
    ctx: RunContext,
    out: WorkDir,
    *,
    corpus: Artifact,
    reserve: Artifact | None,
    ratings: Artifact,
    screen: Artifact,
    params: MixParams,
) -> None:
    """Write the mixture: a corpus with three more columns, so that training it is `train` again."""
    pool = pool_rows(ctx, reserve)
    mixture = mixed(
        params,
        pool_rows(ctx, corpus),
        pool,
        read_table(ctx.store, ratings, "ratings.parquet", RATINGS),
        read_table(ctx.store, screen, "screen.parquet", SCREEN),
    )
    require_rows(len(mixture), f"mixture {params.rule.kind}")
    write_table(out, "mixture.parquet", mixture, MIXTURE)
