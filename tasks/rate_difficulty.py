"""How hard and how long every row is: a global table by `example_id`."""

from infra_core.corpus.difficulty import rate
from infra_core.corpus.render import token_counter
from infra_core.corpus.schema import RATINGS
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import RateParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._checkpoint import model_folder
from tasks._pools import pool_rows
from tasks._stage import RunContext, stage
from tasks.ingest import require_rows


@stage(version=1)
def rate_difficulty(
    ctx: RunContext,
    out: WorkDir,
    *,
    corpus: Artifact,
    reserve: Artifact | None,
    benchmarks: Artifact,
    base: Artifact,
    params: RateParams,
) -> None:
    """Rate all pools by one measure; bands are cut at the corpus's own quantiles. `base` counts tokens."""
    rows = pool_rows(ctx, corpus)
    require_rows(len(rows), "corpus")
    count_tokens = token_counter(load_tokenizer(model_folder(ctx, base)))
    ratings = rate(
        rows,
        pool_rows(ctx, reserve),
        pool_rows(ctx, benchmarks),
        params,
        count_tokens,
    )
    write_table(out, "ratings.parquet", ratings, RATINGS)
