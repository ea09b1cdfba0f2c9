"""Asking whether a lease is held, and by whom.

Workers write on behalf of its holder and prove before each commit that the holder still has it.
"""

import fcntl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from infra_core.errors import StoreError
from infra_core.store.artifact import Part
from infra_core.store.files import Files
from infra_core.store.lease import LEASES, Check, held_in_process, is_renewed, lost


@dataclass(frozen=True)
class Handed:
    """A folder that is being built, on its way to a worker that writes some of its parts."""

    store: str
    stage: str
    version: int
    key: str
    token: str
    pointers: Mapping[str, str]


@dataclass(frozen=True)
class Written:
    """What such a worker wrote, on its way back."""

    parts: Mapping[str, Part] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def fence(files: Files, name: str, token: str) -> Check:
    """Return a check that raises `StoreError` once the holding `token` of the lease `name` has ended.

    On a local disk the holder's lock is there and the file says `token`; on S3 the lease object names it.
    Elsewhere nothing can be asked: such stores have one process at a time.
    """

    def check() -> None:
        if files.is_local:
            held = _is_locked_by(Path(files.path(name)), token)
        elif files.is_s3:
            held = _names(files, name, token)
        else:
            held = True
        if not held:
            raise StoreError(lost(files, name))

    return check


def held(files: Files, lifetime: float) -> list[str]:
    """Return what is being built now, as ``<stage>-<key>``; a lease that a dead holder left does not count.

    Where leases are locks of a process (see `infra_core.store.lease`) those of other processes are not seen.
    """
    if not (files.is_local or files.is_s3):
        return held_in_process(f"{files.path(LEASES)}/")
    names = [name for name in files.sizes(LEASES) if not name.startswith("probe-")]
    if files.is_local:
        return [name for name in names if _is_locked_by(Path(files.path(f"{LEASES}/{name}")), None)]
    heads = ((name, _head(files, f"{LEASES}/{name}")) for name in names)
    return [name for name, head in heads if head is not None and is_renewed(head, lifetime)]


def _is_locked_by(path: Path, token: str | None) -> bool:
    """Whether a process holds the lock, and for the holding `token` if one is given."""
    with suppress(FileNotFoundError), path.open() as file:
        if token is not None and file.read() != token:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False  # nobody holds it: the holder died


def _names(files: Files, name: str, token: str) -> bool:
    head = _head(files, name)
    return head is not None and head["Metadata"].get("holder") == token


def _head(files: Files, name: str) -> dict | None:
    bucket, key = files.path(name).split("/", 1)
    with suppress(FileNotFoundError), files.speaking(name):
        return files.fs.call_s3("head_object", Bucket=bucket, Key=key)
    return None
