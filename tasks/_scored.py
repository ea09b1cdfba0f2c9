"""Scores of a corpus as they are, or with every row's gradient made longer or shorter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.schema import SCORES
from infra_core.store.artifact import Artifact
from infra_core.store.tables import each_table, read_tables
from tasks._stage import RunContext


@dataclass(frozen=True)
class Scored:
    """Scores, and by what those of each example are multiplied: `example_id` and `weight`, or by nothing."""

    artifact: Artifact
    weights: pl.DataFrame | None = None

    def whole(self, ctx: RunContext) -> pl.DataFrame:
        """Return the influence of all examples on all groups."""
        columns = {name: SCORES[name] for name in ("example_id", "group", "influence")}
        return self._weighed(read_tables(ctx.store, self.artifact, columns, wider=True), "influence")

    def parts(self, ctx: RunContext, names: Sequence[str], of: str) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield, part by part, the influence `of` tokens or spans."""
        columns = {name: SCORES[name] for name in ("example_id", "group", of)}
        for name, found in each_table(ctx.store, self.artifact, columns, names, wider=True):
            yield name, self._weighed(found, of)

    def _weighed(self, found: pl.DataFrame, column: str) -> pl.DataFrame:
        if self.weights is None:
            return found
        known = found.join(self.weights, on="example_id", maintain_order="left")
        return known.with_columns(pl.col(column) * pl.col("weight").cast(pl.Float32)).drop("weight")
