"""What the viewer of a report shows, read part by part."""

from collections.abc import Iterator, Mapping

import polars as pl

from infra_core.corpus.schema import BEHAVED, SCORES, distinct
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import Recipe
from infra_core.report import choose, pack
from infra_core.report.traces import Part, Traces
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_table
from tasks._checkpoint import model_folder
from tasks._pools import pool_parts
from tasks._stage import RunContext


def read_traces(
    ctx: RunContext,
    recipe: Recipe,
    *,
    corpus: Artifact,
    checkpoint: Artifact,
    rules: Mapping[str, Artifact],
    behaved: Artifact | None,
    scored: pl.DataFrame,
) -> Traces:
    """Return the examples that are shown, with all their scores.

    Parameters
    ----------
    ctx, recipe
        Of the run.
    corpus, checkpoint
        What was scored, and the model whose tokenizer says which token is which.
    rules
        Scores by token rule.
    behaved
        What each span does; None where responses were scored whole.
    scored
        `example_id`, `group`, `influence`, `tokens` and `band` of what may be shown.
    """
    chosen = pl.DataFrame({"example_id": choose(scored, recipe.seed)})
    bands = scored.select("example_id", "band").unique("example_id", keep="first")
    nothing = pl.DataFrame(schema={"example_id": pl.String(), "behaviours": pl.List(pl.String())})

    def labels(name: str) -> pl.DataFrame:
        if behaved is None:
            return nothing
        spans = read_table(ctx.store, behaved, name, BEHAVED)
        return spans.group_by("example_id", maintain_order=True).agg(behaviours="behaviour")

    def parts() -> Iterator[Part]:
        for name, rows in pool_parts(ctx, corpus):
            shown = distinct(rows).join(chosen, on="example_id", how="semi", maintain_order="left")
            if shown.is_empty():
                continue
            found = {rule: read_table(ctx.store, scores, name, SCORES) for rule, scores in rules.items()}
            ids = shown.select("example_id")
            for known in (bands, labels(name)):
                shown = shown.join(known, on="example_id", how="left", maintain_order="left")
            yield (
                shown,
                {
                    rule: frame.join(ids, on="example_id", how="semi", maintain_order="left")
                    for rule, frame in found.items()
                },
            )

    tokenizer = load_tokenizer(model_folder(ctx, checkpoint))
    return pack(parts(), tokenizer, recipe.scores.spans, of=scored["example_id"].n_unique())
