"""Parts as local files: in place on local disks, verified and cached from elsewhere."""

from pathlib import Path

import pytest

from infra_core.errors import StoreError
from infra_core.store.store import ArtifactStore


def build_two(out):
    for name in out.pending({name: {"row": name} for name in ("layers/0", "layers/1")}):
        with out.open(name) as file:
            file.write(name.encode())


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fetched_files_are_the_parts(any_store):
    artifact = any_store.materialize("toy", 1, None, {}, build_two, {})
    folder = any_store.fetch(artifact)
    assert {name: (folder / name).read_bytes() for name in any_store.parts(artifact)} == {
        "layers/0": b"layers/0",
        "layers/1": b"layers/1",
    }
    assert contents(any_store.fetch(artifact, "layers")) == {"0": b"layers/0", "1": b"layers/1"}


def test_a_local_store_is_read_in_place(tmp_path, cache):
    store = ArtifactStore(str(tmp_path / "store"))
    artifact = store.materialize("toy", 1, None, {}, build_two, {})
    assert store.fetch(artifact) == Path(artifact.uri.removeprefix("file://"))
    assert not cache.exists()


def test_adopted_parts_are_brought_together(store):
    store.materialize("toy", 1, {"run": 1}, {}, build_two, {})
    artifact = store.materialize("toy", 1, {"run": 2}, {}, build_two, {})
    assert contents(store.fetch(artifact)) == {"layers/0": b"layers/0", "layers/1": b"layers/1"}


def test_what_is_in_the_cache_is_not_fetched_again_but_looked_at(cache):
    store = ArtifactStore("memory://fetch-twice")
    artifact = store.materialize("toy", 1, None, {}, build_two, {})
    folder = store.fetch(artifact)
    assert folder.is_relative_to(cache)
    first = (folder / "layers/0").stat()
    (folder / "layers/1").write_bytes(b"spoiled")
    assert store.fetch(artifact) == folder
    assert (folder / "layers/0").stat().st_ino == first.st_ino
    assert (folder / "layers/1").read_bytes() == b"layers/1"


def test_a_cache_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("INFRA_CACHE", "/proc/infra-cache")
    store = ArtifactStore("memory://no-cache")
    artifact = store.materialize("toy", 1, None, {}, build_two, {})
    with pytest.raises(StoreError, match=r"/proc/infra-cache.*INFRA_CACHE"):
        store.fetch(artifact)


def test_a_folder_that_is_not_there_is_refused(store):
    artifact = store.materialize("toy", 1, None, {}, build_two, {})
    with pytest.raises(StoreError, match="nothing under model/; it has layers/0, layers/1"):
        store.fetch(artifact, "model")
