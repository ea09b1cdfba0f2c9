"""Whether two arms differ, of one run or of two with the same exam: where a report compares other pairs.

``python -m benchmarks.arms REPORT:ARM REPORT:ARM …`` with URIs of reports; each behind the first one is held
against it, question by question. Verdicts are not corrected for their number.
"""

import sys

from rich.console import Console

from infra_core.corpus.schema import ANSWERS
from infra_core.evaluation.statistics import Table, paired_difference
from infra_core.evaluation.summary import answer_table
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_tables

SEED = 0


def main(first: str, *others: str) -> None:
    """Print by how much each of the others answers more than the first, by task."""
    tables = {name: _tables(name) for name in (first, *others)}
    console = Console(highlight=False)
    for name in others:
        for task, before in tables[first].items():
            found = paired_difference(tables[name][task], before, SEED, alike=[before, tables[name][task]])
            told = found.interval
            console.print(
                f"{name} against {first}, {task}: {100 * told.value:+.1f} points [{100 * told.low:+.1f}, "
                f"{100 * told.high:+.1f}], p = {found.p:.4f}, {told.n} questions, {told.seeds} seeds",
                soft_wrap=True,
            )


def _tables(name: str) -> dict[str, Table]:
    """Read the answers of an arm: questions × training seeds, by task."""
    uri, _, arm = name.rpartition(":")
    store, report = ArtifactStore.of(uri)
    inputs = store.manifest(report).inputs
    runs = [
        read_tables(store, store.at(f"evaluate/{key}"), ANSWERS, "answers-*.parquet")
        for given, key in inputs.items()
        if given.startswith(f"evaluations.{arm}.")
    ]
    tasks = runs[0]["task"].unique(maintain_order=True)
    return {task: answer_table([run.filter(task=task) for run in runs], "accuracy") for task in tasks}


if __name__ == "__main__":
    main(*sys.argv[1:])
