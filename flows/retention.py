"""gc: what of a store is kept, and what of it no kept report was made from."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from infra_core.errors import RequestError
from infra_core.store.retention import Folder, look, loose, remove
from infra_core.store.store import ArtifactStore

RESULTS = ("report", "assess", "publish", "ask")
"""Stages that nothing is made from: what they write is what people want."""


@dataclass(frozen=True)
class Collected:
    """What was found in a store.

    Attributes
    ----------
    kept
        The reports, answers and publications that were to be kept.
    stays, goes
        Folders that these need or that are young, and all others.
    removed
        Whether the others are gone.
    """

    kept: tuple[Folder, ...]
    stays: tuple[Folder, ...]
    goes: tuple[Folder, ...]
    removed: bool


def collect(store: str, keep: int, only: tuple[str, ...], hours: float, *, remove_them: bool) -> Collected:
    """Find, and on request remove, what the results that are kept do not need.

    Parameters
    ----------
    store
        Its URL.
    keep
        How many results of each recipe are kept: the newest.
    only
        Addresses of artifacts to keep in place of those.
    hours
        What changed within this time stays as well, with what it was made from.
    remove_them
        Whether to remove the rest.

    Raises
    ------
    RequestError
        If nothing would be kept.
    """
    place = ArtifactStore(store)
    folders = look(place)
    named = {place.at(uri).key for uri in only}
    for uri in only:
        place.manifest(place.at(uri))  # a slip of the pen must not read as "keep nothing"
    kept = [folder for folder in folders if folder.key in named] if only else newest(folders, keep)
    if not kept:
        raise RequestError(f"{place.root} has no finished report; name what to keep by --only")
    goes = loose(folders, (folder.key for folder in kept), time.time() - 3600 * hours)
    if remove_them:
        remove(place, goes)
    gone = {folder.key for folder in goes}
    stays = tuple(folder for folder in folders if folder.key not in gone)
    return Collected(tuple(kept), stays, tuple(goes), remove_them)


def newest(folders: Iterable[Folder], count: int) -> list[Folder]:
    """Return the newest finished results of each recipe, so many of each stage."""
    known: dict[tuple[str, str], list[Folder]] = defaultdict(list)
    for folder in folders:
        if folder.stage in RESULTS and folder.manifest is not None:
            params = folder.manifest.params or {}
            name = params.get("name") or params.get("recipe", {}).get("name", "")
            known[folder.stage, name].append(folder)
    ordered = (sorted(found, key=lambda folder: (folder.changed, folder.key)) for found in known.values())
    return [folder for found in ordered for folder in found[-count:]]
