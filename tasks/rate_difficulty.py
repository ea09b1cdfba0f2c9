"""How hard and how long every row is: a global table by `example_id`; lengths are counted part by part."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from infra_core.corpus.difficulty import agreement, rate
from infra_core.corpus.render import token_counter
from infra_core.corpus.schema import LENGTHS, PASS_RATES, RATINGS
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import RateParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import each_table, reread_table, table_names, write_table
from tasks._at_once import several_at_once
from tasks._checkpoint import model_folder
from tasks._pools import pool_parts, pool_rows
from tasks._progress import progress
from tasks._row_local import of_texts
from tasks._shares import share_out
from tasks._stage import RunContext, stage
from tasks.ingest import require_rows

RATED = ("example_id", "domain", "source", "difficulty", "difficulty_method")
PREFIX = "lengths-"
AGREED = "agreement.json"


@stage(version=2)
def rate_difficulty(  # noqa: PLR0913 - inputs of a stage
    ctx: RunContext,
    out: WorkDir,
    *,
    corpus: Artifact,
    reserve: Artifact | None,
    benchmarks: Artifact,
    base: Artifact,
    attempts: Mapping[str, Artifact] | None = None,
    params: RateParams,
) -> None:
    """Rate all pools by one measure; bands are cut at the corpus's own quantiles.

    `base` counts tokens; `attempts` are of the pools (corpus, reserve, benchmark), where pass rates are asked
    for. What labels of the corpus and pass rates have in common is written beside the ratings.
    """
    rows = pool_rows(ctx, corpus, *RATED)
    require_rows(len(rows), "corpus")
    lengths = pl.concat([_lengths(ctx, out, pool, base) for pool in (corpus, reserve, benchmarks) if pool])
    known = lengths.unique("example_id", keep="first")

    def count_tokens(frame: pl.DataFrame) -> Iterator[tuple[int, int]]:
        counted = frame.join(known, on="example_id", how="left", maintain_order="left")
        return counted.select("prompt_tokens", "response_tokens").iter_rows()

    tried = {pool: _pass_rates(ctx, artifact) for pool, artifact in (attempts or {}).items()}
    ratings = rate(
        rows, pool_rows(ctx, reserve, *RATED), pool_rows(ctx, benchmarks, *RATED), params, count_tokens, tried
    )
    write_table(out, "ratings.parquet", ratings, RATINGS)
    if "corpus" in tried:
        labelled = pool_rows(ctx, corpus, "example_id", "domain", "difficulty", "group")
        with out.open(AGREED) as file:
            file.write(agreement(labelled, tried["corpus"], seed=0).write_json().encode())


def _pass_rates(ctx: RunContext, attempts: Artifact) -> pl.DataFrame:
    names = [name for name in table_names(ctx.store, attempts) if not name.startswith(("answers-", "draws-"))]
    frames = (frame for _, frame in each_table(ctx.store, attempts, PASS_RATES, names))
    return pl.concat([pl.DataFrame(schema=pl.Schema(PASS_RATES)), *frames])


def _lengths(ctx: RunContext, out: WorkDir, pool: Artifact, base: Artifact) -> pl.DataFrame:
    """Count the tokens of every row of a pool, part by part, where that was not done before."""
    identities = of_texts(ctx, pool, PREFIX, base=base.key)
    share_out(ctx, out, count_parts, out.pending(identities), (pool, base))
    noted = (reread_table(out, name, LENGTHS) for name in identities)
    return pl.concat([pl.DataFrame(schema=dict(LENGTHS)), *noted])


def count_parts(
    ctx: RunContext, out: WorkDir, names: Sequence[str], given: tuple[Artifact, Artifact]
) -> None:
    """Count the tokens of every row of some parts."""
    pool, base = given
    count = token_counter(load_tokenizer(model_folder(ctx, base)))

    def counted(part: tuple[str, pl.DataFrame]) -> tuple[str, pl.DataFrame]:
        name, rows = part
        found = zip(rows["example_id"], count(rows), strict=True)
        lengths = [(example_id, prompt, response) for example_id, (prompt, response) in found]
        return name, pl.DataFrame(lengths, LENGTHS, orient="row")

    with progress("count tokens, parts", len(names)) as update:
        wanted = {name.removeprefix(PREFIX) for name in names}
        texts = pool_parts(ctx, pool, "example_id", "prompt", "response", only=wanted)
        for done, (name, lengths) in enumerate(several_at_once(counted, texts), 1):
            write_table(out, f"{PREFIX}{name}", lengths, LENGTHS)
            update(done)
