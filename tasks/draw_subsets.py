"""Which rows each retraining gets, to see whether scores are true."""

import polars as pl

from infra_core.corpus.schema import MIXTURE, SCORES, distinct
from infra_core.recipe import Params, Recipe, ValidityParams
from infra_core.recipe.validity import Design
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_tables, write_table
from infra_core.validity.curves import leave_out
from infra_core.validity.designs import ROWS, SUBSETS, quarters, total_influence
from infra_core.validity.designs import draw_subsets as draw
from tasks._stage import RunContext, stage
from tasks.mix import MIXED

DRAWN = "subsets.parquet"


class SubsetRun(Params):
    """What subsets are drawn, and of which rows."""

    subsets: dict[Design, int]
    fraction: float
    left_out: tuple[float, ...]
    max_tokens: int  # longer rows are never trained on
    seed: int

    @classmethod
    def of(cls, given: Recipe, asked: ValidityParams) -> "SubsetRun":
        """Take from a recipe what its subsets depend on."""
        return cls(
            subsets=asked.subsets,
            fraction=asked.fraction,
            left_out=asked.left_out,
            max_tokens=given.train.max_tokens,
            seed=derive_seed(given.seed, "subsets"),
        )


@stage(version=1)
def draw_subsets(
    ctx: RunContext, out: WorkDir, *, mixture: Artifact, scores: Artifact | None, params: SubsetRun
) -> None:
    """Write `subsets.parquet`; `scores` are there for subsets that are drawn by influence."""
    columns = {name: MIXTURE[name] for name in ("example_id", "domain", "source", "band", "tokens")}
    rows = distinct(read_tables(ctx.store, mixture, columns, MIXED, wider=True))
    rows = rows.filter(pl.col("tokens") <= params.max_tokens).sort("example_id")
    totals = _totals(ctx, scores, rows)
    rows = rows.join(quarters(totals), on="example_id", how="left", maintain_order="left")
    drawn = draw(rows.select(*ROWS), params.subsets, params.fraction, params.seed)
    more = leave_out(totals, params.left_out, params.seed)
    write_table(out, DRAWN, pl.concat([drawn, more]), SUBSETS)


def _totals(ctx: RunContext, scores: Artifact | None, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the total influence of these rows; none of any row without scores."""
    known = {name: SCORES[name] for name in ("example_id", "group", "influence")}
    scored = (
        pl.DataFrame(schema=pl.Schema(known))
        if scores is None
        else read_tables(ctx.store, scores, known, wider=True)
    )
    return total_influence(scored.join(rows, on="example_id", how="semi"))
