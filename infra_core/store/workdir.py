"""`WorkDir`: the folder a stage writes into. A part that exists is a part that is done."""

import errno
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from uuid import uuid4

from infra_core.errors import DamageError, StoreError
from infra_core.store import folders
from infra_core.store.artifact import MANIFEST, Artifact, Manifest, Part, check_name, split_at
from infra_core.store.fence import Handed, Written, fence
from infra_core.store.files import Files, digest_bytes, digest_file
from infra_core.store.integrity import check_digest, missing
from infra_core.store.key import part_key
from infra_core.store.lease import Held, lease_name

WORK = ".work"  # inside an artifact's folder, until it is finished
SENT = f"{WORK}/sent"  # notes of what was sent whole
READERS = 8  # threads that read many small files at once


class WorkDir:
    """What `build` writes through. Made by `ArtifactStore.materialize`, which holds the lease meanwhile.

    Parameters
    ----------
    files
        The store.
    stage, version, key
        Of the artifact that is being built.
    held
        The lease; called before each commit, it raises if it is lost.
    scratch
        A local folder for what is being written; on a local store, on its disk.

    Attributes
    ----------
    notes
        What the stage found out about how it ran; recorded in the manifest beside provenance, never hashed.
    """

    def __init__(self, files: Files, stage: str, version: int, key: str, held: Held, scratch: Path) -> None:
        self._files, self._stage, self._version = files, stage, version
        self._check, self._scratch = held, scratch
        self.notes: dict[str, str] = {}
        self._home = f"{stage}/{key}"
        self._written: dict[str, Part] = {}
        self._adopted: dict[str, Part] = {}
        self._pointers: dict[str, str] = {}  # name → where its pointer record belongs
        self._pointed: set[str] = set()
        self._awaited: list[str] = []

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open part `name` for writing; it appears under that name only once wholly written.

        Raises
        ------
        ValueError
            If `name` could leave the folder, hide, or shadow the manifest.
        StoreError
            If the store does not take the part, or the lease is lost.
        """
        check_name(name)
        local = self._scratch / uuid4().hex
        # Written to a local file first: a remote one that is closed by an exception would publish the half.
        try:
            with _saying_full(local), local.open("wb") as file:
                yield file
            self._commit(name, local, consume=True)
        finally:
            local.unlink(missing_ok=True)

    def pending(self, names: Iterable[str] | Mapping[str, Mapping[str, object]]) -> list[str]:
        """The parts among `names` that are still to be written, in the order given.

        Parameters
        ----------
        names
            Part names. Or, for row-local parts, a mapping from name to the part's identity: all that decides
            its bytes, beside stage and version. A part of that identity that any artifact of the same stage
            and version wrote before is adopted: it is not pending, and the manifest says where it lies.
        """
        wanted = list(names)
        for name in wanted:
            check_name(name)
        done = set(self.parts())
        if isinstance(names, Mapping):
            for name, identity in names.items():
                key = part_key(self._stage, self._version, identity)
                self._pointers[name] = f".parts/{self._stage}/{key}.json"
            self._adopt([name for name in wanted if name not in done])
        self._awaited = [name for name in wanted if name not in done and name not in self._adopted]
        return list(self._awaited)

    def awaited(self) -> str | None:
        """The part that is worked on, as far as can be told: the first that was pending and is not there."""
        return next((name for name in self._awaited if name not in self._written), None)

    def hand_over(self) -> Handed:
        """What a worker elsewhere needs to write parts here; good for as long as the lease is held."""
        key = self._home.split("/")[1]
        return Handed(
            self._files.url, self._stage, self._version, key, self._check.token, dict(self._pointers)
        )

    def take_back(self, written: Written) -> None:
        """Account for what a worker wrote."""
        self._written.update(written.parts)
        self._pointed.update(name for name in written.parts if name in self._pointers)
        self.notes.update(written.notes)

    def written(self) -> Written:
        """What was written here, for `take_back` of the one who handed the folder over."""
        return Written(dict(self._written), dict(self.notes))

    def parts(self) -> list[str]:
        """Names of the parts written so far, by this build or one that was interrupted, sorted."""
        return [name for name in self._files.sizes(self._home) if name != MANIFEST and not _is_hidden(name)]

    def read(self, name: str) -> bytes:
        """The content of a part that is not pending: written here, by an interrupted build, or adopted.

        Raises
        ------
        DamageError
            If it is adopted and is not what its writer recorded.
        """
        adopted = self._adopted.get(name)
        if adopted is None:
            return self._files.read(f"{self._home}/{name}")
        artifact = Artifact(self._stage, self._home.split("/")[1], f"{self._files.url}/{self._home}")
        try:
            content = self._files.read(adopted["at"])
        except FileNotFoundError as error:
            raise DamageError(missing(self._files, artifact, name, adopted)) from error
        check_digest(self._files, artifact, name, adopted, digest_bytes(content))
        return content

    def put_folder(self, prefix: str, local: Path) -> None:
        """Write every file of the folder `local` as part "<prefix>/<file>", and drop others there.

        Several are sent at a time. What an interrupted build sent whole is noted and not sent again.
        """
        below = f"{prefix}/" if prefix else ""
        found = {below + name: path for name, path in folders.folder_files(local).items()}
        for name in found:
            check_name(name)
        for name in self.parts():
            if name.startswith(below) and name not in found:  # of a build that was interrupted
                self._check()
                self._files.remove_file(f"{self._home}/{name}")
                self._written.pop(name, None)
        sizes = self._files.sizes(self._home)

        def send(name: str, path: Path) -> None:
            note = f"{SENT}/{name}.json"
            before = self._sent(note, sizes[name]) if note in sizes and name in sizes else None
            self._commit(name, path, consume=False, before=before)
            if before != self._written[name]:
                record = json.dumps(self._written[name], sort_keys=True)
                self._files.put_bytes(f"{self._home}/{note}", record.encode())

        with ThreadPoolExecutor(folders.SENDERS) as pool:
            list(pool.map(send, found, found.values()))  # asking for the results raises what a thread raised

    def _sent(self, note: str, size: int) -> Part | None:
        """What was noted of a part once it was sent; None if it has another size, or that cannot be read."""
        try:
            record = json.loads(self._files.read(f"{self._home}/{note}"))
            part = Part(sha256=str(record["sha256"]), bytes=int(record["bytes"]))
            return part if part["bytes"] == size else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def save_state(self, name: str, local: Path) -> None:
        """Save the folder `local` as mid-stage state: hidden, only the newest kept, gone when all is done."""
        self._check()
        folders.save_state(self._files, f"{self._home}/{WORK}/state", name, local)

    def latest_state(self) -> tuple[str, Path] | None:
        """The newest state saved whole: its name and a local folder with its files, to be read only."""
        return folders.latest_state(self._files, f"{self._home}/{WORK}/state", self._scratch)

    def finish(self) -> dict[str, Part]:
        """Account for every part, for the manifest; those of an interrupted build are read back.

        Raises
        ------
        StoreError
            If a part written here is gone.
        """
        present = self.parts()
        if gone := sorted(set(self._written) - set(present)):
            raise StoreError(
                f"{self._files.url}/{self._home}/{gone[0]} was written and is gone; see what deletes there"
            )
        for name in present:
            if name not in self._written:
                sha256, size = self._files.digest(f"{self._home}/{name}")
                self._written[name] = {"sha256": sha256, "bytes": size}
            if name in self._pointers and name not in self._pointed:
                self._point(name)
        return dict(sorted((self._adopted | self._written).items()))

    def commit_manifest(self, manifest: Manifest) -> None:
        """Write the manifest; from then on the artifact is finished."""
        self._check()
        path, content = f"{self._home}/{MANIFEST}", manifest.to_json().encode()
        if not self._files.put_bytes(path, content, only_new=True):
            self._check()  # as in `_commit`: the holder of the lease has the last word
            self._files.put_bytes(path, content)

    def _commit(self, name: str, local: Path, *, consume: bool, before: Part | None = None) -> None:
        sha256, size = digest_file(local)
        path = f"{self._home}/{name}"
        self._check()
        is_there = before == {"sha256": sha256, "bytes": size}
        is_new = is_there or self._files.put(path, local, consume=consume, only_new=True)
        # There already: by a put of ours whose answer was lost, by an interrupted build, or by one that lost
        # its lease. Checking once more leaves the last word to the holder of the lease.
        if not is_new and self._files.digest(path) != (sha256, size):
            self._check()
            self._files.put(path, local, consume=consume)
        self._written[name] = {"sha256": sha256, "bytes": size}
        self._adopted.pop(name, None)
        if name in self._pointers:
            self._point(name)

    def _point(self, name: str) -> None:
        record = {**self._written[name], "at": f"{self._home}/{name}"}
        self._files.put_bytes(self._pointers[name], json.dumps(record, sort_keys=True).encode())
        self._pointed.add(name)

    def _adopt(self, names: list[str]) -> None:
        with ThreadPoolExecutor(READERS) as pool:
            records = dict(zip(names, pool.map(self._read_pointer, names), strict=True))
        sizes: dict[str, dict[str, int]] = {}
        for name, record in records.items():
            if record is None:
                continue
            stage, key, target = split_at(record["at"])
            if key not in sizes:
                sizes[key] = self._files.sizes(f"{stage}/{key}")
            if sizes[key].get(target) == record["bytes"]:
                self._adopted[name] = record

    def _read_pointer(self, name: str) -> Part | None:
        """What was recorded of the part; None if nothing, or nothing that can be trusted."""
        try:
            record = json.loads(self._files.read(self._pointers[name]))
            if split_at(record["at"])[0] != self._stage:
                return None
            return Part(sha256=str(record["sha256"]), bytes=int(record["bytes"]), at=record["at"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


@contextmanager
def taken_over(handed: Handed) -> Iterator[WorkDir]:
    """Write parts of a folder on behalf of the one who builds it, and holds its lease."""
    files = Files.under(handed.store)
    held = Held(fence(files, lease_name(handed.stage, handed.key), handed.token), handed.token)
    aside = None
    if files.is_local:  # on the store's own disk, so that parts need only a new name
        aside = files.make_folder(f"{handed.stage}/{handed.key}/{WORK}/workers")
    with TemporaryDirectory(prefix="infra-", dir=aside) as scratch:
        work = WorkDir(files, handed.stage, handed.version, handed.key, held, Path(scratch))
        work._pointers = dict(handed.pointers)
        yield work


def _is_hidden(name: str) -> bool:
    return any(piece.startswith(".") or not piece for piece in name.split("/"))


@contextmanager
def _saying_full(local: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreError(
                f"no space left in {local.parent}; free some and run again: what is whole is kept"
            ) from error
        raise
