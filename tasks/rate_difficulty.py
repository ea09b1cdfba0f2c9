"""How hard and how long every row is: a global table by `example_id`; lengths are counted part by part."""

from collections.abc import Iterator

import polars as pl

from infra_core.corpus.difficulty import rate
from infra_core.corpus.render import token_counter
from infra_core.corpus.schema import LENGTHS, RATINGS
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import RateParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import reread_table, write_table
from tasks._at_once import several_at_once
from tasks._checkpoint import model_folder
from tasks._pools import pool_parts, pool_rows
from tasks._progress import progress
from tasks._row_local import of_texts
from tasks._stage import RunContext, stage
from tasks.ingest import require_rows

RATED = ("example_id", "domain", "source", "difficulty", "difficulty_method")
PREFIX = "lengths-"


@stage(version=2)
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
    rows = pool_rows(ctx, corpus, *RATED)
    require_rows(len(rows), "corpus")
    lengths = pl.concat([_lengths(ctx, out, pool, base) for pool in (corpus, reserve, benchmarks) if pool])
    known = lengths.unique("example_id", keep="first")

    def count_tokens(frame: pl.DataFrame) -> Iterator[tuple[int, int]]:
        counted = frame.join(known, on="example_id", how="left", maintain_order="left")
        return counted.select("prompt_tokens", "response_tokens").iter_rows()

    ratings = rate(
        rows, pool_rows(ctx, reserve, *RATED), pool_rows(ctx, benchmarks, *RATED), params, count_tokens
    )
    write_table(out, "ratings.parquet", ratings, RATINGS)


def _lengths(ctx: RunContext, out: WorkDir, pool: Artifact, base: Artifact) -> pl.DataFrame:
    """Count the tokens of every row of a pool, part by part, where that was not done before."""
    identities = of_texts(ctx, pool, PREFIX, base=base.key)
    pending = set(out.pending(identities))
    if pending:
        count = token_counter(load_tokenizer(model_folder(ctx, base)))
        wanted = {name.removeprefix(PREFIX) for name in pending}

        def counted(part: tuple[str, pl.DataFrame]) -> tuple[str, pl.DataFrame]:
            name, rows = part
            found = zip(rows["example_id"], count(rows), strict=True)
            lengths = [(example_id, prompt, response) for example_id, (prompt, response) in found]
            return name, pl.DataFrame(lengths, LENGTHS, orient="row")

        with progress("count tokens, parts", len(wanted)) as update:
            texts = pool_parts(ctx, pool, "example_id", "prompt", "response", only=wanted)
            for done, (name, lengths) in enumerate(several_at_once(counted, texts), 1):
                write_table(out, f"{PREFIX}{name}", lengths, LENGTHS)
                update(done)
    noted = (reread_table(out, name, LENGTHS) for name in identities)
    return pl.concat([pl.DataFrame(schema=dict(LENGTHS)), *noted])
