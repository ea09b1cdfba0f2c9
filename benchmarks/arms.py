"""Whether two arms differ, of one run or of two with the same exam: where a report compares other pairs.

``python -m benchmarks.arms REPORT:ARM REPORT:ARM …`` with URIs of reports; each behind the first one is held
against it, question by question: right answers in points, and nats a token of reference answers. Verdicts are
not corrected for their number.
"""

import sys

from rich.console import Console

from infra_core.corpus.schema import ANSWERS, LIKELIHOODS
from infra_core.evaluation.statistics import Table, paired_difference
from infra_core.evaluation.summary import answer_table, nll_table
from infra_core.report.inputs import NLL
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_tables

SEED = 0
ACCURACY = "accuracy"
UNITS = {ACCURACY: ("points", 100), NLL: ("nats a token", 1)}


def main(first: str, *others: str) -> None:
    """Print by how much each of the others differs from the first, by task."""
    tables = {name: _tables(name) for name in (first, *others)}
    console = Console(highlight=False)
    for name in others:
        for (task, metric), before in tables[first].items():
            after, (unit, times) = tables[name][task, metric], UNITS[metric]
            found = paired_difference(after, before, SEED, alike=[before, after])
            told = found.interval
            console.print(
                f"{name} against {first}, {task}: {times * told.value:+.3g} {unit} [{times * told.low:+.3g}, "
                f"{times * told.high:+.3g}], p = {found.p:.4f}, {told.n} questions, {told.seeds} seeds",
                soft_wrap=True,
            )


def _tables(name: str) -> dict[tuple[str, str], Table]:
    """Read the exams of an arm: questions × training seeds, by task and metric."""
    uri, _, arm = name.rpartition(":")
    store, report = ArtifactStore.of(uri)
    inputs = store.manifest(report).inputs
    exams = [
        store.at(f"evaluate/{key}")
        for given, key in inputs.items()
        if given.startswith(f"evaluations.{arm}.")
    ]
    answers = [read_tables(store, exam, ANSWERS, "answers-*.parquet") for exam in exams]
    references = [read_tables(store, exam, LIKELIHOODS, "likelihoods-*.parquet") for exam in exams]
    found = {}
    for task in answers[0]["task"].unique(maintain_order=True):
        found[task, ACCURACY] = answer_table([run.filter(task=task) for run in answers], ACCURACY)
        known = [run.filter(task=task) for run in references]
        if all(run.height for run in known):
            found[task, NLL] = nll_table(known)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
