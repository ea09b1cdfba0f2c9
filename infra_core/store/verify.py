"""Re-hash a store: whether everything that was ever finished is still what it was."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra_core.errors import DamageError, StoreError
from infra_core.store.artifact import Artifact, Part
from infra_core.store.fetch import THREADS
from infra_core.store.files import Files
from infra_core.store.integrity import check_digest, location, missing
from infra_core.store.store import ArtifactStore


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify_store` found.

    Attributes
    ----------
    artifacts : int
        Finished artifacts, those with a damaged manifest included.
    parts : int
        Parts that their manifests list.
    damaged : list[str]
        One line for each damaged or missing part and each damaged manifest: what, where, what to do.
    """

    artifacts: int
    parts: int
    damaged: list[str]


def verify_store(store: ArtifactStore) -> VerifyReport:
    """Compare every part of every finished artifact with its manifest.

    Raises
    ------
    StoreError
        If there is no store at that address; an empty answer would read as a clean bill of health.
    """
    files = Files.under(store.root)
    if not files.exists(""):
        raise StoreError(f"there is no store at {store.root}; check the path or URL")
    artifacts, listed, damaged = 0, [], []
    for artifact in store.artifacts():
        artifacts += 1
        try:
            parts = store.manifest(artifact).parts
        except DamageError as error:
            damaged.append(str(error))
        else:
            listed += [(artifact, name, part) for name, part in parts.items()]
    with ThreadPoolExecutor(THREADS) as pool:
        faults = pool.map(lambda one: _fault(files, *one), listed)
        damaged += [fault for fault in faults if fault]
    return VerifyReport(artifacts, len(listed), damaged)


def _fault(files: Files, artifact: Artifact, name: str, part: Part) -> str | None:
    try:
        found = files.digest(location(artifact, name, part))
        check_digest(files, artifact, name, part, found)
    except FileNotFoundError:
        return missing(files, artifact, name, part)
    except StoreError as error:  # damaged, or its sectors cannot be read
        return str(error)
    return None
