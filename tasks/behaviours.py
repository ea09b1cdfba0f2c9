"""What each span of each response does: restates, plans, computes, verifies, takes back, goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from infra_core.attributes.behaviour import behaviours as behaviours_of
from infra_core.corpus.render import spans_of
from infra_core.corpus.schema import BEHAVED, distinct
from infra_core.corpus.segment import Rule
from infra_core.errors import RequestError
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import Params, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._checkpoint import model_folder
from tasks._row_local import of_texts, part_by_part
from tasks._shares import share_out
from tasks._stage import RunContext, stage


class BehaviourRun(Params):
    """How responses are divided."""

    spans: Rule

    @classmethod
    def of(cls, given: Recipe) -> "BehaviourRun":
        """Take the division that scores are summed over.

        Raises
        ------
        RequestError
            If responses are scored whole.
        """
        if given.scores.spans is None:
            raise RequestError("behaviours are of spans, and responses are scored whole; give scores.spans")
        return cls(spans=given.scores.spans)


@stage(version=1)
def behaviours(
    ctx: RunContext, out: WorkDir, *, corpus: Artifact, base: Artifact, params: BehaviourRun
) -> None:
    """Label every span part by part; `base` says where tokens begin, at which spans are cut."""
    pending = out.pending(of_texts(ctx, corpus, tokenizer=base.key, params=params))
    share_out(ctx, out, behaviours_of_parts, pending, Labelling(corpus, base, params.spans))


@dataclass(frozen=True)
class Labelling:
    """What labelling the spans of a pool needs."""

    corpus: Artifact
    base: Artifact
    division: Rule


def behaviours_of_parts(ctx: RunContext, out: WorkDir, names: Sequence[str], given: Labelling) -> None:
    """Label the spans of some parts."""
    tokenizer = load_tokenizer(model_folder(ctx, given.base))
    for name, every in part_by_part(ctx, given.corpus, names, "behaviours"):
        rows = distinct(every)
        write_table(out, name, behaved(rows, spans_of(rows, tokenizer, given.division)), BEHAVED)


def behaved(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Say of each span of some rows what it does, and where in its response it stands: schema BEHAVED."""
    texts = {row["example_id"]: row for row in rows.iter_rows(named=True)}
    labels: list[str] = []
    for (name,), own in spans.group_by("example_id", maintain_order=True):
        row = texts[name]
        pieces = [
            (kind, row["response"][start:stop])
            for kind, start, stop in own.select("kind", "start", "stop").iter_rows()
        ]
        labels += behaviours_of(row["prompt"], pieces, row["answer"])
    return spans.with_columns(
        behaviour=pl.Series(labels, dtype=pl.String()),
        before=(pl.col("tokens").cum_sum() - pl.col("tokens")).over("example_id").cast(pl.Int32),
        of=pl.col("tokens").sum().over("example_id").cast(pl.Int32),
    ).select(*BEHAVED)
