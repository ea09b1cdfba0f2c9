"""`ArtifactStore`: where stage outputs live, and the one place that decides what is already done."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from infra_core.addresses import carries_password
from infra_core.errors import DamageError, RequestError, StoreError
from infra_core.store.artifact import MANIFEST, Artifact, Manifest, Part, check_stage, is_key
from infra_core.store.fetch import fetch_parts, local_parts
from infra_core.store.files import Files, digest_bytes
from infra_core.store.integrity import check_digest, home, location, missing
from infra_core.store.key import canonical_json, stage_key
from infra_core.store.lease import lease, lease_name
from infra_core.store.workdir import WORK, WorkDir


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """Stage outputs under one fsspec URL, addressed by stage name and key. Cheap to make and to pickle.

    Parameters
    ----------
    root
        A path or fsspec URL. A relative path is made absolute here, so that it means the same everywhere.
    lease_seconds
        Lifetime of a lease on an object store; a builder that dies there holds others up for as long.
    """

    root: str
    lease_seconds: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", _absolute(self.root))

    @classmethod
    def of(cls, uri: str) -> "tuple[ArtifactStore, Artifact]":
        """The store that an artifact's address lies in, and the artifact.

        Raises
        ------
        RequestError
            If `uri` is no address of the form <store>/<stage>/<key>.
        """
        root, _, place = uri.strip().rstrip("/").rpartition("/")
        root, _, stage = root.rpartition("/")
        if not root or not is_key(place):
            raise RequestError(
                f"{uri!r} is no artifact; give <store>/<stage>/<key>, as `infra curate` prints"
            )
        store = cls(root)
        return store, store.at(f"{stage}/{place}")

    def probe(self) -> None:
        """Write and remove a small object, so that an unusable store is known before any work is done.

        Raises
        ------
        StoreError
            If the store cannot be reached or written.
        """
        files, name = self._files(), f".leases/probe-{uuid4().hex}"
        files.put_bytes(name, b"")
        files.remove_file(name)

    def address(self, stage: str, version: int, params: object, inputs: Mapping[str, Artifact]) -> Artifact:
        """Where the artifact of this identity is, or will be. The root has no part in its key."""
        check_stage(stage)
        keys = {name: artifact.key for name, artifact in inputs.items()}
        return self._artifact(stage, stage_key(stage, version, params, keys))

    def finished(self, artifact: Artifact) -> bool:
        """Whether the artifact's manifest exists."""
        return self._files().exists(f"{_home(artifact)}/{MANIFEST}")

    def materialize(
        self,
        stage: str,
        version: int,
        params: object,
        inputs: Mapping[str, Artifact],
        build: Callable[[WorkDir], None],
        provenance: Mapping[str, str],
    ) -> Artifact:
        """Return the artifact, building whatever of it does not exist yet.

        Of two builders at once the second waits, then finds the artifact finished.

        Parameters
        ----------
        stage, version, params, inputs
            The artifact's identity; see `stage_key`.
        build
            Writes the missing parts. Called at most once, never if the artifact is finished.
        provenance
            Git commit, host, package versions: recorded, never hashed.

        Raises
        ------
        StoreError
            If the store cannot be reached or written, or another run took the lease over.
        """
        artifact = self.address(stage, version, params, inputs)
        if self.finished(artifact):
            return artifact
        files, folder = self._files(), home(artifact)
        with lease(files, lease_name(stage, artifact.key), self.lease_seconds) as held:
            if self.finished(artifact):
                return artifact
            start = time.monotonic()
            with _scratch(files, folder) as scratch:
                work = WorkDir(files, stage, version, artifact.key, held, scratch)
                build(work)
                parts = work.finish()
            manifest = Manifest(
                stage=stage,
                version=version,
                key=artifact.key,
                params=json.loads(canonical_json(params)),
                inputs={name: given.key for name, given in inputs.items()},
                parts=parts,
                provenance={**provenance, **work.notes},
                seconds=round(time.monotonic() - start, 3),
            )
            work.commit_manifest(manifest)
            files.remove(f"{folder}/{WORK}")
        return artifact

    def manifest(self, artifact: Artifact) -> Manifest:
        """Read the artifact's manifest.

        Raises
        ------
        StoreError
            If there is none: the artifact is not finished.
        DamageError
            If it is not a manifest, or another artifact's.
        """
        name = f"{_home(artifact)}/{MANIFEST}"
        files = self._files()
        try:
            content = files.read(name)
        except FileNotFoundError as error:
            raise StoreError(
                f"{files.url}/{_home(artifact)} is not finished: it has no {MANIFEST}; run its stage again"
            ) from error
        return Manifest.from_json(content, f"{files.url}/{name}", expected=(artifact.stage, artifact.key))

    def parts(self, artifact: Artifact, pattern: str = "*") -> list[str]:
        """Names of the artifact's parts that match, sorted; ``*`` matches ``/`` too."""
        return [name for name in self.manifest(artifact).parts if fnmatchcase(name, pattern)]

    def read(self, artifact: Artifact, name: str) -> bytes:
        """The verified content of a part.

        Raises
        ------
        DamageError
            If it is missing or is not what the manifest says.
        StoreError
            If the artifact has no part of that name.
        """
        return self.read_listed(artifact, self.manifest(artifact), name)

    def read_listed(self, artifact: Artifact, manifest: Manifest, name: str) -> bytes:
        """As `read`, given the manifest: for those who read many parts.

        Raises
        ------
        DamageError
            If the part is missing or is not what the manifest says.
        StoreError
            If the manifest lists no part of that name.
        """
        if name not in manifest.parts:
            some = ", ".join(list(manifest.parts)[:8]) or "no parts"
            raise StoreError(f"{artifact.uri} has no part {name!r}; it has {some}")
        files, part = self._files(), manifest.parts[name]
        try:
            content = files.read(location(artifact, name, part))
        except FileNotFoundError as error:
            raise DamageError(missing(files, artifact, name, part)) from error
        check_digest(files, artifact, name, part, digest_bytes(content))
        return content

    def fetch(self, artifact: Artifact, prefix: str = "") -> Path:
        """Return a local folder with the artifact's verified files: in place on local disks, else cached.

        Parameters
        ----------
        artifact
            Which.
        prefix
            Only the parts "<prefix>/…", as `WorkDir.put_folder` named them; the folder returned is that one.

        Raises
        ------
        StoreError
            If nothing lies under `prefix`, or the cache (``INFRA_CACHE``) cannot be written.
        """
        manifest = self.manifest(artifact)
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        parts: dict[str, Part] = {name: p for name, p in manifest.parts.items() if name.startswith(below)}
        if prefix and not parts:
            raise StoreError(f"{artifact.uri} has nothing under {below}; it has {', '.join(manifest.parts)}")
        return fetch_parts(self._files(), artifact, manifest, parts) / below

    def local(self, artifact: Artifact, names: Iterable[str]) -> list[Path]:
        """Return the parts of these names as verified local files: in place on local disks, else cached."""
        return local_parts(self._files(), artifact, self.manifest(artifact), names)

    def at(self, uri: str) -> Artifact:
        """The artifact at `uri`: a URL or path in this store, "<stage>/<key>", or a key alone.

        Raises
        ------
        RequestError
            If it names no artifact of this store.
        """
        relative = uri.strip().rstrip("/")
        if "://" in relative or relative.startswith(("/", ".", "~")):
            relative = _absolute(relative).removeprefix(f"{self.root}/")
        if is_key(relative):
            known = [found for found in self.artifacts() if found.key == relative]
            if len(known) == 1:
                return known[0]
        stage, _, key = relative.partition("/")
        artifact = Artifact(stage, key, "")
        try:
            _home(artifact)
        except ValueError as error:
            raise RequestError(
                f"{uri!r} is no artifact of {self.root}; give <stage>/<key> or its URL"
            ) from error
        return self._artifact(stage, key)

    def artifacts(self) -> Iterator[Artifact]:
        """Every finished artifact, by stage and key."""
        files = self._files()
        for stage in files.folders(""):
            if stage.startswith("."):
                continue
            for key in files.folders(stage):
                if is_key(key) and files.exists(f"{stage}/{key}/{MANIFEST}"):
                    yield self._artifact(stage, key)

    def _artifact(self, stage: str, key: str) -> Artifact:
        return Artifact(stage, key, f"{self.root}/{stage}/{key}")

    def _files(self) -> Files:
        return Files.under(self.root)


def _home(artifact: Artifact) -> str:
    """The artifact's folder below the root.

    Raises
    ------
    ValueError
        If it would not be below.
    """
    check_stage(artifact.stage)
    if not is_key(artifact.key):
        raise ValueError(f"{artifact.key!r} is not a stage key")
    return home(artifact)


def _absolute(root: str) -> str:
    protocol, mark, rest = root.partition("://")
    if not root.strip() or "::" in root:
        raise StoreError(f"{root!r} cannot be a store; give a path, file://, s3:// or another fsspec URL")
    if carries_password(root):
        raise StoreError("a store's address cannot carry a password; give it by the environment")
    if not mark:
        protocol, rest = "file", root
    if protocol in {"file", "local"}:
        return f"file://{os.path.abspath(Path(rest).expanduser())}"  # noqa: PTH100 - resolve would follow links
    if not rest.strip("/") and protocol != "memory":
        raise StoreError(f"store {root!r} names no bucket; write {protocol}://bucket/prefix")
    return f"{protocol}://{rest.strip('/')}"


@contextmanager
def _scratch(files: Files, folder: str) -> Iterator[Path]:
    """A local folder for half-written parts: on the store's own disk, so that they need only a new name."""
    if not files.is_local:
        with TemporaryDirectory(prefix="infra-") as scratch:
            yield Path(scratch)
        return
    name = f"{folder}/{WORK}/scratch"
    files.remove(name)  # left by a build that was killed
    yield files.make_folder(name)
