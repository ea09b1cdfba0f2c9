"""Row-local work: a part of it belongs to a part of a pool, and is adopted where it was done before."""

from infra_core.store.artifact import Artifact
from infra_core.store.tables import table_names
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
