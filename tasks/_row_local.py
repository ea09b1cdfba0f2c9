"""Row-local work: a part of it belongs to a part of a pool, and is adopted where it was done before."""

from collections.abc import Iterator, Sequence

import polars as pl

from infra_core.corpus.schema import CORPUS
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_table, table_names
from tasks._progress import progress
from tasks._stage import RunContext

Identities = dict[str, dict[str, object]]


def of_texts(ctx: RunContext, pool: Artifact, prefix: str = "", **fixed: object) -> Identities:
    """Return what decides each part of row-local work over a pool: the text of the pool's part, and `fixed`.

    Parts are called as those of the pool, behind `prefix`.
    """
    parts = ctx.store.manifest(pool).parts
    return {
        f"{prefix}{name}": {"text": parts[name]["sha256"], **fixed} for name in table_names(ctx.store, pool)
    }


def part_by_part(
    ctx: RunContext, pool: Artifact, names: Sequence[str], title: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield name and `CORPUS` rows of some parts of a pool, and tell how many of them are done."""
    with progress(f"{title}, parts", len(names)) as update:
        for done, name in enumerate(names, 1):
            yield name, read_table(ctx.store, pool, name, CORPUS)
            update(done)
