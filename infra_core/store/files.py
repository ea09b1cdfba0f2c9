"""The few things the store asks of a filesystem, alike on all of them and with one kind of error."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from infra_core.errors import StoreError
from infra_core.store.transport import failure_of, is_conflict, reach_bucket, transport_errors

BLOCK = 8 * 2**20
_S3_PATIENCE = {"connect_timeout": 5, "read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 4}}


@dataclass(frozen=True, slots=True)
class Fact:
    """How large a file is, and when it was written, in seconds since 1970 by the store's clock."""

    bytes: int
    changed: float


@dataclass(frozen=True)
class Files:
    """A folder on some filesystem. Names are relative to it, with ``/`` between their pieces.

    Make one with `Files.under`. Everything raises `StoreError` when the filesystem does not do its part,
    but for a name that is not there: reading it raises `FileNotFoundError`, as callers have their own words.
    """

    url: str
    fs: AbstractFileSystem
    root: str

    @classmethod
    def under(cls, url: str) -> "Files":
        """Open the folder `url`, which need not exist yet.

        Raises
        ------
        StoreError
            If the URL is of no known kind, or its bucket does not answer.
        """
        protocol = url.split("://", 1)[0]
        options: dict[str, Any] = {"config_kwargs": _S3_PATIENCE} if protocol in {"s3", "s3a"} else {}
        try:
            # A listing kept from before another process wrote would answer "is it there?" wrongly.
            fs, root = url_to_fs(url, use_listings_cache=False, **options)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"store {url} cannot be opened ({error}); give a path, file://, s3:// or another fsspec URL"
            ) from error
        if options:
            reach_bucket(root.split("/", 1)[0])
        return cls(url, fs, root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether this is a folder of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def is_s3(self) -> bool:
        """Whether the store speaks S3, and so can write under a condition."""
        return "s3" in self.fs.protocol

    def path(self, name: str) -> str:
        """The filesystem's own path of `name`."""
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str) -> bool:
        """Whether `name` is there."""
        with self.speaking(name):
            try:
                self.fs.info(self.path(name))
            except FileNotFoundError:
                return False
        return True

    def read(self, name: str) -> bytes:
        """The bytes of `name`."""
        with self.speaking(name):
            return self.fs.cat_file(self.path(name))

    def digest(self, name: str) -> tuple[str, int]:
        """The sha256 and the number of bytes of `name`, read in blocks."""
        with self.speaking(name), self.fs.open(self.path(name), "rb", block_size=BLOCK) as file:
            return _digest(file.read)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below `folder`, by name relative to it, sorted; empty if there is none."""
        base = self.path(folder)
        with self.speaking(folder):
            found = self.fs.find(base, detail=True)
        sizes = {path[len(base) + 1 :]: info["size"] for path, info in found.items() if path != base}
        return dict(sorted(sizes.items()))

    def facts(self, folder: str) -> dict[str, Fact]:
        """Bytes and time of every file below `folder`, by name relative to it; empty if there is none."""
        with self.speaking(folder):
            found = self.fs.find(self.path(folder), detail=True)
            facts = {path: Fact(info["size"], self._written(path, info)) for path, info in found.items()}
        start = len(self.path(folder)) + 1
        return {path[start:]: fact for path, fact in sorted(facts.items())}

    def _written(self, path: str, info: Mapping[str, Any]) -> float:
        known = info.get("LastModified") or info.get("mtime")
        if isinstance(known, float):
            return known
        # Asked one by one where a listing does not say.
        return (known if isinstance(known, datetime) else self.fs.modified(path)).timestamp()

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right below `folder`, sorted; empty if there is none."""
        with self.speaking(folder):
            try:
                found = self.fs.ls(self.path(folder), detail=True)
            except FileNotFoundError:
                return []
        return sorted(
            info["name"].rstrip("/").rsplit("/", 1)[-1] for info in found if info["type"] == "directory"
        )

    def download(self, name: str, local: Path) -> None:
        """Copy `name` to a local file."""
        with self.speaking(name):
            self.fs.get_file(self.path(name), str(local))

    def put(self, name: str, local: Path, *, consume: bool = False, only_new: bool = False) -> bool:
        """Make the local file appear as `name`, whole or not at all.

        Parameters
        ----------
        name
            Where; what was there is replaced.
        local
            The file. On a local store, best on the same disk.
        consume
            Whether `local` may be moved away rather than copied.
        only_new
            Replace nothing, where the filesystem can promise that (S3).

        Returns
        -------
        bool
            False if `only_new` and something is there.
        """
        path = self.path(name)
        with self.speaking(name, writing=True):
            if self.is_local:
                _replace(Path(path), local, consume=consume)
            elif isinstance(self.fs, MemoryFileSystem):
                self.fs.pipe_file(path, local.read_bytes())  # its put_file shows the file while it grows
            else:
                # A put to an object store is atomic by itself; a move there would be copy and delete.
                return _unless_there(lambda: self.fs.put_file(str(local), path, **self._mode(only_new)))
        return True

    def put_bytes(self, name: str, content: bytes, *, only_new: bool = False) -> bool:
        """Make `content` appear as `name`, whole or not at all; see `put`."""
        path = self.path(name)
        with self.speaking(name, writing=True):
            if not self.is_local:
                return _unless_there(lambda: self.fs.pipe_file(path, content, **self._mode(only_new)))
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(path).with_name(f".{uuid4().hex}")
            scratch.write_bytes(content)
            _replace(Path(path), scratch, consume=True)
        return True

    def make_folder(self, name: str) -> Path:
        """Make the folder `name` of a local store."""
        folder = Path(self.path(name))
        with self.speaking(name, writing=True):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def remove(self, folder: str) -> None:
        """Remove `folder` and all below it, if it is there."""
        with self.speaking(folder, writing=True):
            if self.is_local:
                shutil.rmtree(self.path(folder), ignore_errors=True)
                return
            for name in self.fs.find(self.path(folder)):
                self.fs.rm_file(name)

    def remove_file(self, name: str) -> None:
        """Remove the file `name`, if it is there."""
        with self.speaking(name, writing=True):
            try:
                self.fs.rm_file(self.path(name))
            except FileNotFoundError:
                return

    def _mode(self, only_new: bool) -> dict[str, str]:
        return {"mode": "create"} if only_new and self.is_s3 else {}

    @contextmanager
    def speaking(self, name: str, *, writing: bool = False) -> Iterator[None]:
        """Turn what filesystems raise into one line for people.

        Raises
        ------
        StoreError
            For everything but a name that is not there when reading; `UnreachableError` where that may pass.
        """
        try:
            yield
        except transport_errors() as error:
            if isinstance(error, FileNotFoundError) and not writing:
                raise
            verb = "written" if writing else "read"
            told = failure_of(f"{self.url}/{name} cannot be {verb}", error)
            raise told from error


def digest_file(path: Path) -> tuple[str, int]:
    """The sha256 and the number of bytes of a local file."""
    with path.open("rb") as file:
        return _digest(file.read)


def digest_bytes(content: bytes) -> tuple[str, int]:
    """The sha256 and the number of bytes of `content`."""
    return hashlib.sha256(content).hexdigest(), len(content)


def _unless_there(put: Callable[[], None]) -> bool:
    try:
        put()
    except transport_errors() as error:
        if is_conflict(error):
            return False
        raise
    return True


def _digest(read: Callable[[int], bytes]) -> tuple[str, int]:
    sha256, size = hashlib.sha256(), 0
    while block := read(BLOCK):
        sha256.update(block)
        size += len(block)
    return sha256.hexdigest(), size


def _replace(final: Path, local: Path, *, consume: bool) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    source = local
    if not consume:
        source = final.with_name(f".{uuid4().hex}")
        shutil.copyfile(local, source)
    try:
        _sync(source)
        source.replace(final)
    except BaseException:
        source.unlink(missing_ok=True)
        raise
    _sync(final.parent)  # the new name too must survive a power cut


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
