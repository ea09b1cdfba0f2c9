"""Parts as verified local files: in place where the store is a local folder, else in a cache."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

from infra_core.errors import DamageError, StoreError
from infra_core.store.artifact import Artifact, Manifest, Part
from infra_core.store.files import Files, digest_file
from infra_core.store.integrity import check_digest, home, location, missing

THREADS = 8


def cache_folder() -> Path:
    """Where fetched parts are kept: ``INFRA_CACHE``, or ``infra`` in the user's cache folder."""
    given = os.environ.get("INFRA_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given).expanduser() if given else Path(base) / "infra"


def fetch_parts(files: Files, artifact: Artifact, manifest: Manifest, parts: Mapping[str, Part]) -> Path:
    """Return a local folder in which every one of `parts` lies under its name, verified.

    Raises
    ------
    DamageError
        Naming the first part that is missing or is not what the manifest says.
    StoreError
        If the cache cannot be written.
    """
    in_place = files.is_local and not any("at" in part for part in parts.values())
    folder = Path(files.path(home(artifact))) if in_place else _cached(artifact, manifest)
    work = partial(_verified, files, artifact) if in_place else partial(_downloaded, files, artifact, folder)
    _at_once(work, parts)
    return folder


def local_parts(files: Files, artifact: Artifact, manifest: Manifest, names: Iterable[str]) -> list[Path]:
    """Return the parts of these names as verified local files, wherever each of them lies.

    Unlike `fetch_parts` it copies nothing on a local disk, since adopted parts need not stand beside others.

    Raises
    ------
    DamageError
        Naming the first part that is missing or is not what the manifest says.
    StoreError
        If the cache cannot be written.
    """
    parts = {name: manifest.parts[name] for name in names}
    if files.is_local:
        return _at_once(partial(_verified, files, artifact), parts)
    return _at_once(partial(_downloaded, files, artifact, _cached(artifact, manifest)), parts)


def _cached(artifact: Artifact, manifest: Manifest) -> Path:
    # Builds of one key in two stores may differ in their bytes, so the manifest has a say in the folder.
    mark = hashlib.sha256(manifest.to_json().encode()).hexdigest()[:8]
    return cache_folder() / artifact.stage / f"{artifact.key}-{mark}"


def _at_once(work: Callable[[tuple[str, Part]], Path], parts: Mapping[str, Part]) -> list[Path]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, parts.items()))  # asking for the results raises what a thread raised


def _verified(files: Files, artifact: Artifact, named: tuple[str, Part]) -> Path:
    name, part = named
    where = location(artifact, name, part)
    try:
        found = files.digest(where)
    except FileNotFoundError as error:
        raise DamageError(missing(files, artifact, name, part)) from error
    check_digest(files, artifact, name, part, found)
    return Path(files.path(where))


def _downloaded(files: Files, artifact: Artifact, folder: Path, named: tuple[str, Part]) -> Path:
    name, part = named
    final = folder / name
    if final.is_file() and digest_file(final) == (part["sha256"], part["bytes"]):
        return final
    scratch = final.with_name(f".{uuid4().hex}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _download_one(files, artifact, named, scratch)
        scratch.replace(final)
    except OSError as error:
        raise StoreError(
            f"the cache {folder} cannot be written ({error}); set INFRA_CACHE to another folder"
        ) from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
    return final


def _download_one(files: Files, artifact: Artifact, named: tuple[str, Part], local: Path) -> None:
    name, part = named
    try:
        files.download(location(artifact, name, part), local)
    except FileNotFoundError as error:
        raise DamageError(missing(files, artifact, name, part)) from error
    check_digest(files, artifact, name, part, digest_file(local))
