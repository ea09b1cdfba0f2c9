"""A corpus in which some rows are known to be bad, odd or near a query."""

from infra_core.corpus.schema import CORPUS, MIXTURE
from infra_core.recipe import Params, Recipe
from infra_core.recipe.params import Fraction
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_tables, write_table
from infra_core.validity.planted import plant as plant_rows
from tasks._asked import asked_queries
from tasks._stage import RunContext, stage
from tasks.mix import MIXED

TOLD = "truth.json"  # no table, so that all tables are rows to train on


class PlantRun(Params):
    """How much is planted."""

    fraction: Fraction
    seed: int

    @classmethod
    def of(cls, given: Recipe, fraction: float) -> "PlantRun":
        """Derive the seed from that of a recipe."""
        return cls(fraction=fraction, seed=derive_seed(given.seed, "plant"))


@stage(version=1)
def plant(ctx: RunContext, out: WorkDir, *, mixture: Artifact, queries: Artifact, params: PlantRun) -> None:
    """Write `planted.parquet`, a corpus, and `truth.json`: which of its rows are what."""
    rows = read_tables(ctx.store, mixture, {name: MIXTURE[name] for name in CORPUS}, MIXED, wider=True)
    asked = asked_queries(ctx, queries)
    planted, truth = plant_rows(rows, asked, params.fraction, params.seed)
    write_table(out, "planted.parquet", planted, CORPUS)
    with out.open(TOLD) as file:
        file.write(truth.write_json().encode())
