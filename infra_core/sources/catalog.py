"""Which raw shards a source has, and what each of them is: found now, compared by content."""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import fsspec

from infra_core.errors import DataError, InfraError, RequestError
from infra_core.hub import COMMIT, answering, patiently
from infra_core.sources.folders import data_files
from infra_core.sources.formats import COMPRESSIONS, SUFFIXES, format_of
from infra_core.sources.made import made_fingerprint

MADE = "made://"
HUB = "hf://"
HUB_DATASET = re.compile(r"hf://datasets/(?P<name>[^/@]+/[^/@]+)(@(?P<commit>[^/]+))?(?P<rest>/.*)?")
BLOCK_BYTES = 1 << 20
LOOKERS = 16  # threads that ask for facts of files
SHORTEST_REVISION = 12  # hex digits: a prefix of the content hash is enough to check by


@dataclass(frozen=True, slots=True)
class Shard:
    """One raw file, or one procedure that makes rows.

    Attributes
    ----------
    uri
        Where it is.
    fingerprint
        What is in it: sha256 of the content, which the hub knows of large files; etag and size where a remote
        filesystem gives an etag, as git's hash is on the hub; procedure version and options for made rows.
    format
        ``jsonl``, ``json``, ``csv`` (each also ``+gz`` or ``+zst``), ``parquet``, ``arrow`` or ``made``.
    name
        How `raw_ref` calls it: its path below the folder or the fixed part of the glob.
    rows
        Only the first so many; None for all.
    """

    uri: str
    fingerprint: str
    format: str
    name: str
    rows: int | None = None


def catalog(uri: str, revision: str | None = None, *, rows: int | None = None) -> list[Shard]:
    """List the shards of a source, sorted by uri.

    Parameters
    ----------
    uri
        A file, glob or folder on any fsspec filesystem, ``hf://datasets/org/name[/glob]`` or
        ``made://procedure?option=value``.
    revision
        On the hub the commit to read. Elsewhere the `content_revision` that is expected, or a prefix of it.
    rows
        Keep only the first so many rows of each shard.

    Raises
    ------
    DataError
        If nothing is there, or what is there has no known format.
    RequestError
        If the revision is not a commit (hub) or not the revision of what is there (elsewhere).
    """
    if uri.startswith(MADE):
        procedure = uri.removeprefix(MADE).partition("?")[0]
        shards = [Shard(uri, made_fingerprint(uri), "made", procedure, rows)]
    elif uri.startswith(HUB):
        return _on_hub(uri, hub_uri(uri, revision), rows)
    else:
        shards = _listed(*connect(uri), uri, rows)
    found = content_revision(shards)
    if revision is not None and not (len(revision) >= SHORTEST_REVISION and found.startswith(revision)):
        raise RequestError(
            f"{uri} has revision {found}, the recipe asks for {revision}; restore that content, "
            "or write the revision found if the change is meant"
        )
    return shards


def glance(uri: str, revision: str | None = None) -> str:
    """Return a fingerprint of a source that costs no reading: it changes when files come, go or change.

    What is pinned or made cannot change. Elsewhere it is a hash over each file's name, size and etag, or time
    of change where the filesystem gives no etag.

    Raises
    ------
    DataError
        If nothing is there, or it cannot be listed.
    """
    if uri.startswith(MADE):
        return made_fingerprint(uri)
    if revision is not None:
        return revision
    filesystem, path = connect(uri)
    files = _found(filesystem, path, uri)
    with ThreadPoolExecutor(LOOKERS) as lookers:
        facts = lookers.map(lambda file: filesystem.info(file[0]), files)
        seen = sorted(
            (name, fact["size"], str(_etag(fact) or fact.get("mtime") or fact.get("LastModified")))
            for (_, name, _), fact in zip(files, facts, strict=True)
        )
    return hashlib.sha256(repr(seen).encode("utf-8", "surrogatepass")).hexdigest()


def content_revision(shards: Sequence[Shard]) -> str:
    """Return the revision of a source: the one shard's fingerprint, or a hash over all shards."""
    if len(shards) == 1:
        return shards[0].fingerprint
    listing = "\n".join(f"{shard.name}\t{shard.fingerprint}" for shard in shards)
    return hashlib.sha256(listing.encode("utf-8", "surrogatepass")).hexdigest()


def hub_uri(uri: str, revision: str | None) -> str:
    """Return a hub address with its commit in it.

    Raises
    ------
    RequestError
        If the address names no dataset, or the revision is not a full commit, or there are two.

    Examples
    --------
    >>> hub_uri("hf://datasets/org/name/data/*.parquet", "0123456789" * 4)
    'hf://datasets/org/name@0123456789012345678901234567890123456789/data/*.parquet'
    """
    match = HUB_DATASET.fullmatch(uri)
    if match is None:
        raise RequestError(f"{uri} names no dataset; write hf://datasets/org/name or …/name/data/*.parquet")
    commit = match["commit"] or revision
    if match["commit"] and revision and match["commit"] != revision:
        raise RequestError(f"{uri} and revision {revision} disagree; keep one of the two")
    if not commit or not COMMIT.fullmatch(commit):
        raise RequestError(
            f"{uri} has revision {commit!r}, which can move; pin the commit, 40 hexadecimal digits "
            "(the dataset's page, Files, History)"
        )
    return f"hf://datasets/{match['name']}@{commit}{match['rest'] or ''}"


@contextmanager
def opened(uri: str) -> Iterator[IO[bytes]]:
    """Open a shard's bytes for reading."""
    filesystem, path = connect(uri)
    # On the hub opening asks for facts, and asks once; for bytes it asks as often as need be.
    with patiently(lambda: filesystem.open(path, "rb")) as file:
        yield file


def connect(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of an address and the path in it, with listings never cached.

    Raises
    ------
    RequestError
        If no filesystem of that name is known or installed.
    """
    try:
        return fsspec.core.url_to_fs(uri, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise RequestError(
            f"{uri} cannot be reached ({error}); s3:// needs pip install 'infra[s3]', gs:// 'infra[gcs]', "
            "abfs:// 'infra[azure]'"
        ) from error


def _on_hub(uri: str, pinned: str, rows: int | None) -> list[Shard]:
    filesystem, path = connect(pinned)
    filesystem.invalidate_cache()  # it also remembers what was refused
    with answering(f"{uri} (a source of the recipe, {pinned})"):
        patiently(lambda: filesystem.resolve_path(path))  # isfile and isdir would take a refusal for a no
    return _listed(filesystem, path, uri, rows)


def _listed(filesystem: fsspec.AbstractFileSystem, path: str, uri: str, rows: int | None) -> list[Shard]:
    return sorted(
        (
            Shard(filesystem.unstrip_protocol(file), _fingerprint(filesystem, file), kind, name, rows)
            for file, name, kind in _found(filesystem, path, uri)
        ),
        key=lambda shard: shard.uri,
    )


def _found(filesystem: fsspec.AbstractFileSystem, path: str, uri: str) -> list[tuple[str, str, str]]:
    """Return (path, name, format) of every data file behind an address.

    Raises
    ------
    DataError
        If there is none, or the address cannot be listed.
    InfraError
        What a folder says of itself.
    """
    try:
        with answering(uri):
            # Asked first: a file may really be called "a[1].jsonl".
            if filesystem.isfile(path):
                return [(path, posixpath.basename(path), _known_format(path, uri))]
            if filesystem.isdir(path):
                return data_files(filesystem, path, uri)
            matches = sorted(file for file in filesystem.glob(path) if filesystem.isfile(file))
    except InfraError:
        raise
    except Exception as error:  # every filesystem's client raises its own kind
        raise DataError(
            f"{uri} cannot be listed ({error}); check the address and the access to it"
        ) from error
    if not matches:
        what = "no file matches" if any(sign in path for sign in "*?[") else "no such file or folder:"
        raise DataError(f"{what} {uri} (looked for {path}); correct the address")
    base = posixpath.dirname(re.split(r"[*?\[]", path, maxsplit=1)[0] + "_")
    return [(file, posixpath.relpath(file, base), _known_format(file, uri)) for file in matches]


def _known_format(path: str, uri: str) -> str:
    kind = format_of(path)
    if kind is None:
        known = " ".join([*SUFFIXES, *COMPRESSIONS])
        raise DataError(f"{path} (from {uri}) has an unknown suffix; known are {known}: rename or convert it")
    return kind


def _etag(facts: Mapping[str, Any]) -> str | None:
    return facts.get("ETag") or facts.get("etag") or facts.get("blob_id")


def _fingerprint(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    try:
        facts = filesystem.info(path)
        if large := facts.get("lfs"):
            return large.sha256
        if etag := _etag(facts):
            return hashlib.sha256(f"{etag} {facts['size']}".encode()).hexdigest()
        digest = hashlib.sha256()
        with filesystem.open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except Exception as error:  # as above
        raise DataError(f"{path} cannot be read ({error}); check that it is there and readable") from error
    return digest.hexdigest()
