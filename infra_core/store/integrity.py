"""Whether a part is what its manifest says, and what to do if it is not."""

from infra_core.errors import DamageError
from infra_core.store.artifact import MANIFEST, Artifact, Part
from infra_core.store.files import Files


def home(artifact: Artifact) -> str:
    """The artifact's folder, relative to the store."""
    return f"{artifact.stage}/{artifact.key}"


def location(artifact: Artifact, name: str, part: Part) -> str:
    """Where a part lies, relative to the store: in its artifact or in the one that it was adopted from."""
    return part.get("at", f"{home(artifact)}/{name}")


def check_digest(files: Files, artifact: Artifact, name: str, part: Part, found: tuple[str, int]) -> None:
    """Compare the sha256 and bytes `found` with the manifest's.

    Raises
    ------
    DamageError
        Naming the part and the way out, if they differ.
    """
    sha256, size = found
    if size != part["bytes"]:
        raise DamageError(
            damaged(files, artifact, name, part, f"has {size} bytes, its manifest says {part['bytes']}")
        )
    if sha256 != part["sha256"]:
        raise DamageError(
            damaged(files, artifact, name, part, f"has sha256 {sha256}, its manifest says {part['sha256']}")
        )


def damaged(files: Files, artifact: Artifact, name: str, part: Part, what: str) -> str:
    """Describe a damaged part: what it is, where it lies and how to have it made anew."""
    where = location(artifact, name, part)
    owner = "/".join(where.split("/", 2)[:2])
    delete = [where, f"{owner}/{MANIFEST}"]
    adopted = "" if owner == home(artifact) else f" (part {name!r} of {artifact.uri})"
    if adopted:
        delete.append(f"{home(artifact)}/{MANIFEST}")
    return (
        f"{files.url}/{where}{adopted} {what}; delete {' and '.join(delete)} in the store and run again: "
        "only what is missing is made anew"
    )


def missing(files: Files, artifact: Artifact, name: str, part: Part) -> str:
    """Describe a part that is gone."""
    return damaged(files, artifact, name, part, "is missing though its manifest lists it")
