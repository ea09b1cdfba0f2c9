"""Influence by behaviour, read part by part."""

from collections.abc import Iterator

import polars as pl

from infra_core.attributes.clusters import problem_of
from infra_core.attributes.steps import STEPS, step_sums, steps
from infra_core.corpus.schema import BEHAVED, SCORES
from infra_core.store.artifact import Artifact
from infra_core.store.tables import each_table, read_table, table_names
from tasks._stage import RunContext


def read_steps(
    ctx: RunContext, behaved: Artifact | None, scores: Artifact, examples: pl.DataFrame, *, seed: int
) -> pl.DataFrame:
    """Return STEPS of the examples that count; none where responses were scored whole.

    Parameters
    ----------
    ctx
        Of the run.
    behaved
        What each span does; None where there are no spans.
    scores
        Of the same rows.
    examples
        `example_id`, `domain` and `group` (the problem) of the rows that count.
    seed
        Of the resampling.
    """
    if behaved is None:
        return pl.DataFrame(schema=STEPS)
    named = problem_of(examples, examples.select("example_id", "group"))
    counted = examples.select("example_id", "domain").join(named, on="example_id")
    columns = {name: SCORES[name] for name in ("example_id", "group", "spans")}

    def sums() -> Iterator[pl.DataFrame]:
        names = table_names(ctx.store, behaved)
        for name, found in each_table(ctx.store, scores, columns, names, wider=True):
            yield step_sums(read_table(ctx.store, behaved, name, BEHAVED), found, counted)

    return steps(sums(), seed=seed)
