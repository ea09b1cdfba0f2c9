"""kronfluence's scores judged by a bank of retrainings, and ours of the same quantity beside them.

``python -m benchmarks.peer_validity URI`` with the URI of the artifact that `infra validate` ends with. The
quantity is the one that both libraries have: EK-FAC of MLP modules, the empirical Fisher.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from rich.console import Console

from benchmarks.agreement import pearson
from benchmarks.kronfluence_peer import fit_and_score
from infra_core.influence.blocks import choose_blocks
from infra_core.recipe import Variant
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table, read_tables
from infra_core.validity.designs import SUBSETS
from infra_core.validity.judging import OUTCOMES, SCORE_TABLE, judge
from infra_core.validity.rivals import varied
from tasks._stage import RunContext
from tasks.draw_subsets import DRAWN
from tasks.rivals import RivalRun, Scored, contest_of


def main(uri: str) -> None:
    """Score with both libraries and print what retraining says of either."""
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
    names = list(choose_blocks(contest.model, "mlp"))
    with TemporaryDirectory() as folder:
        theirs = fit_and_score(contest.model, contest.examples, contest.queries, names, Path(folder)).scores.T
    rows = [example.example_id for example in contest.examples]
    verdicts = judge(
        read_tables(store, known[asked["outcomes"]], OUTCOMES),
        read_table(store, known[asked["subsets"]], DRAWN, SUBSETS),
        {"ours": _table(rows, ours), "kronfluence": _table(rows, theirs)},
        seed=0,
    )
    console = Console(highlight=False)
    console.print(f"Pearson of all scores: {pearson(ours, theirs):.6f}")
    for each in verdicts:
        found = ", ".join(f"{name} {one.value:.4f}" for name, one in each.by_query.items())
        console.print(f"LDS of single queries, {each.design}, {each.ceiling.subsets} subsets: {found}")


def _table(rows: list[str | None], scores: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"example_id": rows, "scores": scores.tolist()}, schema=pl.Schema(SCORE_TABLE))


if __name__ == "__main__":
    main(sys.argv[1])
