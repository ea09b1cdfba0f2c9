"""What may leave a store: folders that nothing which is kept was made from, or has a part in."""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from json import loads

from infra_core.errors import RequestError, StoreError
from infra_core.store.artifact import MANIFEST, Manifest, is_key, split_at
from infra_core.store.fence import held
from infra_core.store.fetch import THREADS
from infra_core.store.files import Files
from infra_core.store.lease import lease, lease_name
from infra_core.store.store import ArtifactStore


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the store that a stage wrote into.

    Attributes
    ----------
    changed
        When its newest file was written, in seconds since 1970, by the clock of the store.
    files, bytes
        What lies in it.
    manifest
        None if the stage did not come to its end.
    """

    stage: str
    key: str
    changed: float
    files: int
    bytes: int
    manifest: Manifest | None

    @property
    def home(self) -> str:
        """Where it lies, relative to the store."""
        return f"{self.stage}/{self.key}"


def look(store: ArtifactStore) -> list[Folder]:
    """Return every folder of the store, finished or not.

    Raises
    ------
    StoreError
        If there is no store at that address.
    DamageError
        If a manifest cannot be read: what that artifact needs is then not known.
    """
    files = Files.under(store.root)
    if not files.exists(""):
        raise StoreError(f"there is no store at {store.root}; check the path or URL")
    stages = [stage for stage in files.folders("") if not stage.startswith(".")]
    places = [(stage, key) for stage in stages for key in files.folders(stage) if is_key(key)]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda place: _seen(store, files, *place), places))


def _seen(store: ArtifactStore, files: Files, stage: str, key: str) -> Folder:
    facts = files.facts(f"{stage}/{key}")
    manifest = store.manifest(store.at(f"{stage}/{key}")) if MANIFEST in facts else None
    changed = max((fact.changed for fact in facts.values()), default=0.0)
    return Folder(stage, key, changed, len(facts), sum(fact.bytes for fact in facts.values()), manifest)


def loose(folders: Collection[Folder], kept: Iterable[str], since: float) -> list[Folder]:
    """Return the folders that may go.

    Parameters
    ----------
    folders
        All that `look` found.
    kept
        Keys of artifacts to keep. With them stays all that they were made from, and whatever holds a part
        that one of these adopted.
    since
        What changed later stays too, with what it was made from: a run may be under way with it.
    """
    known = {folder.key: folder for folder in folders}
    young = {folder.key for folder in folders if folder.changed > since}
    needed = _reached({*kept, *young}, {key: _made_from(folder) for key, folder in known.items()})
    needed = _reached(needed, {key: _has_parts_in(folder) for key, folder in known.items()})
    return [folder for folder in folders if folder.key not in needed]


def _reached(keys: Iterable[str], links: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = set(keys)
    while ahead:
        found |= ahead
        ahead = {link for key in ahead for link in links.get(key, ())} - found
    return found


def _made_from(folder: Folder) -> set[str]:
    return set(folder.manifest.inputs.values()) if folder.manifest else set()


def _has_parts_in(folder: Folder) -> set[str]:
    parts = folder.manifest.parts.values() if folder.manifest else ()
    return {split_at(part["at"])[1] for part in parts if "at" in part}


def remove(store: ArtifactStore, folders: Collection[Folder]) -> None:
    """Remove folders, each under its lease and its manifest first, then what pointed to their parts.

    A folder that is removed half way is an unfinished one: whoever wants the artifact makes what is missing.

    Raises
    ------
    RequestError
        If somebody is building an artifact: what that run reused, it may still want.
    StoreError
        If a folder cannot be removed.
    """
    files = Files.under(store.root)
    if building := held(files, store.lease_seconds):
        raise RequestError(
            f"{', '.join(building[:3])} in {store.root} is being built, and what that run reused cannot be "
            "told; nothing was removed: wait for its end"
        )
    for folder in folders:
        with lease(files, lease_name(folder.stage, folder.key), store.lease_seconds) as ours:
            files.remove_file(f"{folder.home}/{MANIFEST}")
            ours()
            files.remove(folder.home)
        if files.sizes(folder.home):
            raise StoreError(f"{files.url}/{folder.home} cannot be removed; check the rights of the folder")
    for stage in {folder.stage for folder in folders}:
        _forget(files, f".parts/{stage}", {folder.home for folder in folders})


def _forget(files: Files, pointers: str, gone: set[str]) -> None:
    """Remove the records of where parts lie that lie there no more."""

    def look_up(name: str) -> None:
        try:
            stage, key, _ = split_at(loads(files.read(f"{pointers}/{name}"))["at"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if f"{stage}/{key}" in gone:
            files.remove_file(f"{pointers}/{name}")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(look_up, files.sizes(pointers)))
