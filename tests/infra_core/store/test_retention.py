"""What may go is what nothing that is kept needs; what stays is whole."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import DamageError, RequestError, StoreError
from infra_core.store.artifact import Manifest
from infra_core.store.lease import lease, lease_name
from infra_core.store.lineage import ancestors
from infra_core.store.retention import Folder, look, loose, remove
from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store
from tests.infra_core.store.conftest import REPOSITORY
from tests.infra_core.store.test_fence import HOLD

OLD, NOW = 0.0, 1e12
SHARED = {"a": {"row": "a"}, "b": {"row": "b"}}


def key(number):
    return f"{number:016x}"


@st.composite
def stores(draw):
    """Folders in the order in which they came to be: made from, and with parts in, earlier ones."""
    folders = []
    for number in range(draw(st.integers(1, 12))):
        earlier = st.sets(st.integers(0, number - 1), max_size=3) if number else st.just(set())
        inputs = {f"in{one}": key(one) for one in draw(earlier)}
        parts = {
            f"part{one}": {"sha256": "0" * 64, "bytes": 1, "at": f"toy/{key(one)}/p"} for one in draw(earlier)
        }
        finished = draw(st.integers(0, 4)) > 0
        manifest = Manifest("toy", 1, key(number), None, inputs, parts, {}, 0.0) if finished else None
        folders.append(Folder("toy", key(number), draw(st.sampled_from([OLD, NOW])), 1, 1, manifest))
    return folders


def made_from(folders, one):
    """Keys of what a folder was made from, to the last, in the slow and obvious way."""
    known = {folder.key: folder for folder in folders}
    manifest = known[one].manifest if one in known else None
    found = {one}
    for given_key in manifest.inputs.values() if manifest else ():
        found |= made_from(folders, given_key)
    return found


@settings(deadline=None)  # a busy machine is no fault
@given(stores(), st.data())
def test_nothing_that_a_kept_artifact_rests_on_may_go(folders, data):
    kept = data.draw(st.sets(st.sampled_from([folder.key for folder in folders])))
    goes = {folder.key for folder in loose(folders, kept, since=1.0)}
    young = {folder.key for folder in folders if folder.changed > 1.0}
    stays = {folder.key: folder for folder in folders if folder.key not in goes}
    for root in kept | young:
        assert goes.isdisjoint(made_from(folders, root))
    for folder in stays.values():
        for part in folder.manifest.parts.values() if folder.manifest else ():
            assert part["at"].split("/")[1] in stays  # so it verifies


@settings(deadline=None)  # a busy machine is no fault
@given(stores(), st.data())
def test_what_stays_is_needed(folders, data):
    """By being kept or young, by what is made from it, or by what has parts in it: nothing else stays."""
    kept = data.draw(st.sets(st.sampled_from([folder.key for folder in folders])))
    goes = {folder.key for folder in loose(folders, kept, since=1.0)}
    stays = [folder for folder in folders if folder.key not in goes]
    wanted = {
        text
        for folder in stays
        if folder.manifest
        for text in (
            *folder.manifest.inputs.values(),
            *(part["at"].split("/")[1] for part in folder.manifest.parts.values()),
        )
    }
    assert all(folder.key in kept | wanted or folder.changed > 1.0 for folder in stays)


@settings(deadline=None)  # a busy machine is no fault
@given(stores(), st.data())
def test_a_second_look_finds_nothing_more(folders, data):
    kept = data.draw(st.sets(st.sampled_from([folder.key for folder in folders])))
    goes = loose(folders, kept, since=1.0)
    left = [folder for folder in folders if folder not in goes]
    assert loose(left, kept, since=1.0) == []


def write_shared(out):
    for name in out.pending(SHARED):
        with out.open(name) as file:
            file.write(name.encode() * 100)


def write_nothing(out):
    """As stages do whose parts nobody shares, here without any."""


def build(store, stage, write=write_shared, version=1, **inputs):
    return store.materialize(stage, version, None, inputs, write, {})


def collect(store, *kept, since=NOW):
    goes = loose(look(store), [artifact.key for artifact in kept], since)
    remove(store, goes)
    return {folder.home for folder in goes}


def test_what_remains_verifies_and_can_be_built_upon(any_store):
    """Two lines of work that share parts: the younger is kept, and with it what the older wrote of them."""
    first, second = (build(any_store, name, write_nothing) for name in ("a", "b"))
    old, new = (build(any_store, "ingest", raw=raw) for raw in (first, second))
    dropped, kept = (build(any_store, "report", write_nothing, corpus=corpus) for corpus in (old, new))
    assert collect(any_store, kept) == {f"a/{first.key}", f"report/{dropped.key}"}
    assert verify_store(any_store).damaged == []
    assert not any_store.finished(dropped)
    assert all(not isinstance(found, str) for _, found in ancestors(any_store, kept))
    assert build(any_store, "report", write_nothing, corpus=old) == dropped  # made anew where it is wanted


def test_an_unfinished_folder_goes_unless_it_is_young_or_holds_a_part(any_store):
    def crash(out):
        write_shared(out)
        raise RuntimeError("preempted")

    for stage in ("ingest", "other"):
        with pytest.raises(RuntimeError, match="preempted"):
            build(any_store, stage, crash, version=7 if stage == "other" else 1)
    kept = build(any_store, "ingest", corpus=build(any_store, "base"))  # adopts what the crashed one wrote
    assert loose(look(any_store), [kept.key], time.time() - 3600) == []
    gone = collect(any_store, kept)
    assert [home.split("/")[0] for home in gone] == ["other"]
    assert verify_store(any_store).damaged == []


def test_parts_of_what_went_are_not_adopted(any_store):
    gone = build(any_store, "ingest")
    collect(any_store)
    assert any_store._files().sizes(".parts") == {}
    assert build(any_store, "ingest") == gone
    assert verify_store(any_store).damaged == []


def test_nothing_is_removed_while_something_is_built(any_store):
    left = build(any_store, "ingest")
    with lease(any_store._files(), lease_name("train", key(1)), 5.0):
        with pytest.raises(RequestError, match=f"train-{key(1)} in .* is being built"):
            collect(any_store)
        assert any_store.finished(left)
    collect(any_store)
    assert not any_store.finished(left)


def test_a_lease_that_a_killed_process_left_holds_nobody_up(tmp_path):
    store = ArtifactStore(str(tmp_path))
    build(store, "ingest")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.root], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    holder.stdout.readline()
    with pytest.raises(RequestError, match=r"toy in .* is being built"):
        collect(store)
    holder.kill()
    holder.communicate()
    assert len(collect(store)) == 1


def test_what_cannot_be_understood_is_not_removed(store):
    artifact = build(store, "ingest")
    store._files().put_bytes(f"ingest/{artifact.key}/manifest.json", b'{"format": 99}')
    with pytest.raises(DamageError, match="manifest format 99"):
        look(store)


def test_a_store_that_is_not_there_is_not_empty(tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        look(ArtifactStore(str(tmp_path / "mistyped")))


def test_leases_parts_and_strangers_are_no_artifacts(tmp_path):
    """Whatever else lies in the folder of a store is left alone."""
    store = ArtifactStore(str(tmp_path))
    build(store, "ingest")
    for name in ("ingest/notes", "notes", ".git/0123456789abcdef"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("mine")
    collect(store)
    assert sorted(path.parent.name for path in tmp_path.rglob("file")) == [
        "0123456789abcdef",
        "notes",
        "notes",
    ]
