"""The mean of scores that several models gave the same rows: those of one training, on its way."""

from collections.abc import Iterable, Mapping

from infra_core.corpus.schema import SCORES
from infra_core.influence import mean_scores
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_table, table_names, write_table
from tasks._progress import progress
from tasks._stage import RunContext, stage


@stage(version=1)
def average(ctx: RunContext, out: WorkDir, *, scores: Mapping[str, Artifact]) -> None:
    """Write part by part the mean of all scores; a part whose scores are known is adopted."""
    given = list(scores.values())
    names = table_names(ctx.store, given[0])
    pending = out.pending({name: {"scores": _digests(ctx, given, name)} for name in names})
    with progress("average, parts", len(pending)) as update:
        for done, name in enumerate(pending, 1):
            tables = [read_table(ctx.store, each, name, SCORES) for each in given]
            write_table(out, name, mean_scores(tables), SCORES)
            update(done)


def _digests(ctx: RunContext, given: Iterable[Artifact], name: str) -> list[str]:
    return [ctx.store.manifest(each).parts[name]["sha256"] for each in given]
