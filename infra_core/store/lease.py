"""One builder per artifact: a lease that dies with its holder.

- Local folders: `flock`. The kernel frees it with the process, SIGKILL included.
- S3: a lease object put under a condition (``If-None-Match``, ``If-Match``) and renewed by a thread; one that
  was not renewed for its lifetime, by the server's own clock, is taken over.
- Anything else (``memory://``, stores without conditional puts): a lock within this process, no more. Two
  processes that build one artifact there at once do double work, and with results that are not equal bit by
  bit may leave parts that differ from the manifest; `verify_store` would find them.
"""

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO
from uuid import uuid4
from weakref import WeakSet

from infra_core.errors import StoreError
from infra_core.store.files import Files
from infra_core.store.transport import is_conflict, transport_errors

logger = logging.getLogger(__name__)

Check = Callable[[], None]


@dataclass(frozen=True)
class Held:
    """A lease that we hold. Call it before each commit: it raises `StoreError` if it is no longer ours.

    Attributes
    ----------
    token
        Names this holding; others who write on the holder's behalf carry it (`infra_core.store.fence`).
    """

    check: Check
    token: str = ""

    def __call__(self) -> None:
        """Raise if the lease is no longer ours."""
        self.check()


_held_files: WeakSet[IO[str]] = WeakSet()
_process_locks: dict[str, threading.Lock] = {}


LEASES = ".leases"
"""The folder that they lie in."""


def lease_name(stage: str, key: str) -> str:
    """Return the name of the lease on an artifact."""
    return f"{LEASES}/{stage}-{key}"


@contextmanager
def lease(files: Files, name: str, lifetime: float = 60.0) -> Iterator[Held]:
    """Hold the lease `name`, waiting for another holder to finish or die.

    Parameters
    ----------
    files
        Where leases lie.
    name
        Which lease.
    lifetime
        Seconds after which a lease on S3 that is not renewed is free; no meaning elsewhere.

    Yields
    ------
    Held
        Call it before each commit: it raises `StoreError` if the lease is no longer ours.
    """
    if files.is_local:
        held = _file_lease(files, name)
    elif files.is_s3:
        held = _object_lease(files, name, lifetime)
    else:
        held = _process_lease(files, name)
    with held as ours:
        yield ours


def lost(files: Files, name: str) -> str:
    """Return what is said of a lease that is no longer ours."""
    return (
        f"lost the lease {files.url}/{name}: another run took it over while this one stood still; "
        "run again to reuse what that run makes"
    )


# ---------------------------------------------------------------- local disks


@contextmanager
def _file_lease(files: Files, name: str) -> Iterator[Held]:
    path = Path(files.path(name))
    file = _lock(files, name, path)
    _held_files.add(file)
    token = uuid4().hex
    file.truncate(0)
    file.write(token)
    file.flush()

    def check() -> None:
        if not _is_at(file, path):
            raise StoreError(lost(files, name))

    try:
        yield Held(check, token)
    finally:
        # Removed while still locked: whoever waits on this file sees it gone and opens the new one.
        if _is_at(file, path):
            path.unlink()
        file.close()


def _lock(files: Files, name: str, path: Path) -> IO[str]:
    told = False
    while True:
        with files.speaking(name, writing=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
        if file.closed:
            told = told or _tell_waiting(name, "another process on this disk")
            time.sleep(0.05)
        elif _is_at(file, path):
            return file
        else:
            file.close()  # its last holder removed it while we waited


def _is_at(file: IO[str], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _let_go_in_child() -> None:
    # A forked child shares the lock; outliving a killed parent it would keep it.
    for file in _held_files:
        file.close()


os.register_at_fork(after_in_child=_let_go_in_child)


# ---------------------------------------------------------------- object stores


@contextmanager
def _object_lease(files: Files, name: str, lifetime: float) -> Iterator[Held]:
    held = _ObjectLease(files, name, lifetime)
    told = False
    while not held.take():
        told = told or _tell_waiting(name, held.holder)
        time.sleep(min(1.0, lifetime / 8))
    stop = threading.Event()
    renewer = threading.Thread(target=held.keep, args=(stop,), name=f"lease {name}", daemon=True)
    renewer.start()
    try:
        yield Held(held.renew, held.me)
    finally:
        stop.set()
        renewer.join()
        held.release()


class _ObjectLease:
    """A lease object; whoever wrote it last under a condition that held has the lease."""

    def __init__(self, files: Files, name: str, lifetime: float) -> None:
        self.files, self.name, self.lifetime = files, name, lifetime
        self.me = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self.holder = "somebody"
        self._etag = ""
        self._bucket, self._key = files.path(name).split("/", 1)
        self._turn = threading.Lock()  # the renewing thread and the builder both renew

    def take(self) -> bool:
        """Try once to get the lease: as the first, or from a holder that is dead by the server's clock."""
        with self.files.speaking(self.name, writing=True):
            if self._put(IfNoneMatch="*"):
                return True
            current = self._head()
            if current is None:
                return False  # released this moment; try again
            self.holder = current["Metadata"].get("holder", "somebody")
            return not is_renewed(current, self.lifetime) and self._put(IfMatch=current["ETag"])

    def renew(self) -> None:
        """Prolong the lease, and so prove that it is ours.

        Raises
        ------
        StoreError
            If it is not.
        """
        with self._turn, self.files.speaking(self.name, writing=True):
            if self._put(IfMatch=self._etag):
                return
            current = self._head()
            if current is None or current["Metadata"].get("holder") != self.me:
                raise StoreError(lost(self.files, self.name))
            self._etag = current["ETag"]  # an earlier renewal got there, its answer did not get here

    def keep(self, stop: threading.Event) -> None:
        """Renew until told to stop. Trouble is left for the builder's own `renew` to meet."""
        while not stop.wait(self.lifetime / 4):
            with suppress(StoreError):
                self.renew()

    def release(self) -> None:
        """Give the lease back if it is still ours; a store that is gone by now is not worth an error."""
        with suppress(StoreError):
            self.renew()
            self.files.remove_file(self.name)

    def _put(self, **condition: str) -> bool:
        body = json.dumps({"holder": self.me, "nonce": uuid4().hex}).encode()  # so that each put has its ETag
        labels = {"holder": self.me, "lifetime": str(self.lifetime)}
        try:
            answer = self._call("put_object", Body=body, Metadata=labels, **condition)
        except transport_errors() as error:
            if is_conflict(error) or isinstance(error, FileNotFoundError):
                return False
            raise
        self._etag = answer["ETag"]
        return True

    def _head(self) -> dict | None:
        try:
            return self._call("head_object")
        except FileNotFoundError:
            return None

    def _call(self, method: str, **given: object) -> dict:
        return self.files.fs.call_s3(method, Bucket=self._bucket, Key=self._key, **given)


def is_renewed(answer: dict, lifetime: float) -> bool:
    """Whether the holder of a lease object is alive, by the clock of the server that described the object."""
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    patience = float(answer["Metadata"].get("lifetime", lifetime))
    # Both times are whole seconds.
    return (now - answer["LastModified"]).total_seconds() <= patience + 1


# ---------------------------------------------------------------- anything else


def held_in_process(below: str) -> list[str]:
    """Names below a path of the leases that threads of this process hold."""
    return sorted(
        path.removeprefix(below)
        for path, lock in list(_process_locks.items())
        if path.startswith(below) and lock.locked()
    )


@contextmanager
def _process_lease(files: Files, name: str) -> Iterator[Held]:
    lock = _process_locks.setdefault(files.path(name), threading.Lock())
    if not lock.acquire(blocking=False):
        _tell_waiting(name, "another thread of this process")
        lock.acquire()
    try:
        yield Held(lambda: None)
    finally:
        lock.release()


def _tell_waiting(name: str, holder: str) -> bool:
    logger.info("waiting for %s, who is building %s", holder, name.removeprefix(".leases/"))
    return True
