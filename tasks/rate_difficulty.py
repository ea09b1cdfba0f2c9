"""How hard and how long every row is: a global table by `example_id`."""

from infra_core.corpus.difficulty import rate
from infra_core.corpus.render import token_counter
from infra_core.corpus.schema import CORPUS, RATINGS
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import RateParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_tables, write_table
from tasks._checkpoint import model_folder
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
    rows = read_tables(ctx.store, corpus, CORPUS)
    require_rows(len(rows), "corpus")
    count_tokens = token_counter(load_tokenizer(model_folder(ctx, base)))
    ratings = rate(
        rows,
        read_tables(ctx.store, reserve, CORPUS) if reserve else None,
        read_tables(ctx.store, benchmarks, CORPUS),
        params,
        count_tokens,
    )
    write_table(out, "ratings.parquet", ratings, RATINGS)
