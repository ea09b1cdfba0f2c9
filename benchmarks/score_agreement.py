"""How alike runs score the same rows: models of other seeds, sizes or architectures, tuned on one corpus.

``python -m benchmarks.score_agreement URI URI …`` with URIs of score artifacts, or of reports resting on one.
Each run is held against the first, by group of queries, over the rows that both scored.
"""

import sys

import polars as pl
from rich.console import Console

from infra_core.corpus.schema import SCORES
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_tables
from infra_core.validity.agreement import agreements

GROUPED = {name: SCORES[name] for name in ("example_id", "group", "influence")}


def main(first: str, *others: str) -> None:
    """Print how alike each of the others is to the first."""
    tables = {uri: _scores(uri) for uri in (first, *others)}
    console = Console(highlight=False)
    for uri in others:
        shared = tables[first].join(tables[uri], on=("example_id", "group"), suffix="_other")
        for (group,), rows in shared.group_by("group", maintain_order=True):
            pair = {
                name: rows.select("example_id", scores=pl.concat_list(column))
                for name, column in {first: "influence", uri: "influence_other"}.items()
            }
            [found] = agreements(pair, [str(group)], seed=0)
            rank = found.rank.interval()
            console.print(
                f"{group}, {rows.height} rows, {uri}: rank correlation {rank.value:.2f} [{rank.low:.2f}, "
                f"{rank.high:.2f}], of the first tenth in common {found.in_common:.2f}",
                soft_wrap=True,
            )


def _scores(uri: str) -> pl.DataFrame:
    """Read the scores that an artifact is or rests on, each row and group once."""
    store, artifact = ArtifactStore.of(uri)
    [scores, *_] = [
        each
        for _, each in ancestors(store, artifact)  # the mean of scores before those it is of
        if isinstance(each, Artifact) and each.stage in {"average", "score"}
    ]
    read = read_tables(store, scores, GROUPED, wider=True)
    return read.unique(["example_id", "group"], maintain_order=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
