"""Where an artifact comes from: walk manifests from it to all its ancestors."""

from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore


def ancestors(store: ArtifactStore, *artifacts: Artifact) -> list[tuple[int, Artifact | str]]:
    """List the artifacts and all that they were made from, nearest first along each branch.

    Returns
    -------
    list of (depth, Artifact or str)
        In depth-first order, starting with ``(0, artifacts[0])``; each once, where it is first met. An
        ancestor that is no longer in the store is its key alone.
    """
    known = {found.key: found for found in store.artifacts()}
    found: list[tuple[int, Artifact | str]] = []
    seen: set[str] = set()

    def visit(depth: int, key: str) -> None:
        if key in seen:
            return
        seen.add(key)
        found.append((depth, known.get(key, key)))
        if key in known:
            for given in store.manifest(known[key]).inputs.values():
                visit(depth + 1, given)

    known |= {artifact.key: artifact for artifact in artifacts}
    for artifact in artifacts:
        visit(0, artifact.key)
    return found
