"""Scores of kronfluence and bergson judged by a bank of retrainings, and ours of the same quantity beside.

``python -m benchmarks.peer_validity URI`` with the URI of the artifact that `infra validate` ends with. The
quantity is the one that all three have: EK-FAC of MLP modules, the empirical Fisher.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from rich.console import Console

from benchmarks import bergson_peer, kronfluence_peer
from benchmarks.agreement import pearson
from infra_core.influence.blocks import choose_blocks
from infra_core.recipe import Variant
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table, read_tables
from infra_core.validity.contest import Contest
from infra_core.validity.designs import SUBSETS
from infra_core.validity.judging import OUTCOMES, SCORE_TABLE, judge
from infra_core.validity.rivals import varied
from tasks._stage import RunContext
from tasks.draw_subsets import DRAWN
from tasks.rivals import RivalRun, Scored, contest_of


def main(uri: str) -> None:
    """Score with all libraries and print what retraining says of each."""
    store, page = ArtifactStore.of(uri)
    known = {each.key: each for _, each in ancestors(store, page) if isinstance(each, Artifact)}
    asked = store.manifest(page).inputs
    scored = store.manifest(known[asked["scores"]])
    given = Scored(
        **{name: known[key] for name, key in scored.inputs.items()},
        params=RivalRun.model_validate(scored.params),
    )
    contest = contest_of(RunContext(store), given)
    ours = varied(contest, Variant(modules="mlp", curvature="ekfac", fisher="empirical", damping=0.1))
    scores = {"ours": ours, **_by_peers(contest)}
    rows = [example.example_id for example in contest.examples]
    verdicts = judge(
        read_tables(store, known[asked["outcomes"]], OUTCOMES),
        read_table(store, known[asked["subsets"]], DRAWN, SUBSETS),
        {name: _table(rows, each) for name, each in scores.items()},
        seed=0,
    )
    console = Console(highlight=False)
    for name, theirs in scores.items():
        console.print(f"Pearson of all scores of {name} with ours: {pearson(ours, theirs):.6f}")
    for each in verdicts:
        found = ", ".join(f"{name} {one.value:.4f}" for name, one in each.by_query.items())
        console.print(f"LDS of single queries, {each.design}, {each.ceiling.subsets} subsets: {found}")


def _by_peers(contest: Contest) -> dict[str, np.ndarray]:
    """Return the scores of each peer, rows × queries; kronfluence, which rebuilds the model, last."""
    given = contest.model, contest.examples, contest.queries
    names = list(choose_blocks(contest.model, "mlp"))
    with TemporaryDirectory() as folder:
        bergson, _ = bergson_peer.fit_and_score(*given, Path(folder, "bergson"))
        kronfluence = kronfluence_peer.fit_and_score(*given, names, Path(folder, "kronfluence")).scores
    return {"bergson": bergson.T, "kronfluence": kronfluence.T}


def _table(rows: list[str | None], scores: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"example_id": rows, "scores": scores.tolist()}, schema=pl.Schema(SCORE_TABLE))


if __name__ == "__main__":
    main(sys.argv[1])
