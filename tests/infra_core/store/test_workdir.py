"""Parts appear whole or not at all, are not made twice, and are shared where their identity allows it."""

import json

import pytest

from infra_core.errors import DamageError
from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store


def build_toy(store, build, params=None, version=1):
    return store.materialize("toy", version, params, {}, build, {})


def write(out, name, content=b"content"):
    with out.open(name) as file:
        file.write(content)


def inside(store, look):
    """Run `look` with the WorkDir of an artifact that stays unfinished."""

    class Enough(Exception):
        pass

    def build(out):
        look(out)
        raise Enough

    with pytest.raises(Enough):
        build_toy(store, build)


def test_notes_of_a_stage_stand_in_the_manifest_and_change_no_key(store):
    def build(out):
        write(out, "part")
        out.notes["batch_dependence"] = "1e-7"

    noted = build_toy(store, build)
    assert store.manifest(noted).provenance["batch_dependence"] == "1e-7"
    assert build_toy(store, build).key == noted.key


def fail_halfway(out, name):
    with out.open(name) as file:
        file.write(b"half")
        raise OSError("cable pulled")


def test_a_part_whose_writer_fails_never_appears(any_store):
    def look(out):
        with pytest.raises(OSError, match="cable pulled"):
            fail_halfway(out, "0.parquet")
        assert out.parts() == []
        assert out.pending(["0.parquet"]) == ["0.parquet"]

    inside(any_store, look)


def test_a_part_cannot_be_seen_while_it_is_written(store):
    def look(out):
        with out.open("deep/0") as file:
            file.write(b"half")
            file.flush()
            assert out.parts() == []
        assert out.parts() == ["deep/0"]

    inside(store, look)


def test_a_part_written_again_is_the_newer_one(any_store):
    artifact = build_toy(any_store, lambda out: [write(out, "0", b"old"), write(out, "0", b"new one")])
    assert any_store.read(artifact, "0") == b"new one"
    assert verify_store(any_store).damaged == []


def test_half_a_part_left_by_a_killed_build_is_swept_away(tmp_path):
    store = ArtifactStore(str(tmp_path))
    inside(store, lambda out: (out._scratch / "left-behind").write_bytes(b"half"))
    artifact = build_toy(store, lambda out: write(out, "0"))
    assert [path.name for path in sorted((tmp_path / "toy" / artifact.key).rglob("*"))] == [
        "0",
        "manifest.json",
    ]


def test_parts_found_from_an_interrupted_build_are_hashed_for_the_manifest(store):
    inside(store, lambda out: write(out, "0", b"before"))
    artifact = build_toy(store, lambda out: [write(out, name, b"after") for name in out.pending(["0", "1"])])
    assert [store.read(artifact, name) for name in ("0", "1")] == [b"before", b"after"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", ".hidden", "manifest.json"])
def test_a_part_cannot_leave_the_artifact(store, name):
    def look(out):
        with pytest.raises(ValueError, match="part"), out.open(name):
            pass
        with pytest.raises(ValueError, match="part"):
            out.pending([name])

    inside(store, look)


def make(store, identities, params, made, version=1):
    def build(out):
        for name in out.pending(identities):
            made.append(name)
            write(out, name, json.dumps(identities[name]).encode())

    return build_toy(store, build, params, version)


def test_a_corpus_with_one_more_shard_makes_only_that_one(any_store):
    made = []
    old = make(any_store, {"0": {"shard": "a"}, "1": {"shard": "b"}}, {"run": 1}, made)
    made.append("--")
    new = make(any_store, {"0": {"shard": "a"}, "x/2": {"shard": "c"}, "9": {"shard": "b"}}, {"run": 2}, made)
    assert made == ["0", "1", "--", "x/2"]
    parts = any_store.manifest(new).parts
    assert parts["9"]["at"] == f"toy/{old.key}/1"
    assert "at" not in parts["x/2"]
    assert [json.loads(any_store.read(new, name))["shard"] for name in ("0", "9", "x/2")] == ["a", "b", "c"]
    assert verify_store(any_store).damaged == []


def test_adopted_parts_are_pointed_to_where_they_lie_not_from_hand_to_hand(store):
    first = make(store, {"0": {"shard": "a"}}, {"run": 1}, [])
    make(store, {"0": {"shard": "a"}}, {"run": 2}, [])
    third = make(store, {"0": {"shard": "a"}}, {"run": 3}, [])
    assert store.manifest(third).parts["0"]["at"] == f"toy/{first.key}/0"


def test_another_version_or_identity_adopts_nothing(store):
    made = []
    make(store, {"0": {"shard": "a"}}, {"run": 1}, made)
    make(store, {"0": {"shard": "a"}}, {"run": 1}, made, version=2)
    make(store, {"0": {"shard": "a", "clean": 1}}, {"run": 2}, made)
    assert made == ["0", "0", "0"]


def test_an_adopted_part_that_is_gone_or_cut_short_is_made_again(any_store):
    made = []
    first = make(any_store, {"0": {"shard": "a"}, "1": {"shard": "b"}}, {"run": 1}, made)
    any_store._files().remove_file(f"toy/{first.key}/0")
    any_store._files().put_bytes(f"toy/{first.key}/1", b"short")
    second = make(any_store, {"0": {"shard": "a"}, "1": {"shard": "b"}}, {"run": 2}, made)
    assert made == ["0", "1", "0", "1"]
    assert not any("at" in part for part in any_store.manifest(second).parts.values())


def test_a_pointer_that_cannot_be_trusted_is_as_good_as_none(store):
    made = []
    make(store, {"0": {"shard": "a"}}, {"run": 1}, made)
    (pointer,) = store._files().sizes(".parts")
    for run, content in enumerate([b"{", b"[]", b'{"at": "../../etc/passwd", "sha256": "0", "bytes": 1}']):
        store._files().put_bytes(f".parts/{pointer}", content)
        make(store, {"0": {"shard": "a"}}, {"again": run}, made)
    assert made == ["0"] * 4


def test_a_crash_between_part_and_pointer_is_made_good(store):
    """The pointer is written when the build is finished, if it was not written with the part."""
    inside(store, lambda out: write(out, "0", b"whole, but nothing points to it"))
    made = []
    first = build_toy(store, lambda out: made.extend(out.pending({"0": {"shard": "a"}})))
    second = make(store, {"0": {"shard": "a"}}, {"run": 2}, made)
    assert made == []
    assert store.manifest(second).parts["0"]["at"] == f"toy/{first.key}/0"


def test_what_is_not_pending_can_be_read_back(store):
    first = make(store, {"0": {"shard": "a"}}, {"run": 1}, [])
    seen = []

    def build(out):
        out.pending({"0": {"shard": "a"}})
        seen.append(out.read("0"))

    build_toy(store, build, {"run": 2})
    assert seen == [store.read(first, "0")]
    store._files().put_bytes(f"toy/{first.key}/0", seen[0].replace(b"a", b"b"))
    with pytest.raises(DamageError, match=f"{first.key}/0 .*sha256"):
        build_toy(store, build, {"run": 3})


def test_a_folder_becomes_parts_and_comes_back_as_a_folder(any_store, tmp_path):
    (tmp_path / "model/sub").mkdir(parents=True)
    (tmp_path / "model/weights").write_bytes(b"w" * 100_000)
    (tmp_path / "model/sub/config").write_bytes(b"c")

    def build(out):
        write(out, "model/stale", b"of an interrupted build")
        write(out, "losses", b"1.0")
        out.put_folder("model", tmp_path / "model")

    artifact = build_toy(any_store, build)
    assert any_store.parts(artifact) == ["losses", "model/sub/config", "model/weights"]
    folder = any_store.fetch(artifact, "model")
    assert (folder / "weights").read_bytes() == b"w" * 100_000
    assert (folder / "sub/config").read_bytes() == b"c"
    assert (tmp_path / "model/weights").exists()


def test_what_is_no_folder_is_not_put(tmp_path):
    store = ArtifactStore(str(tmp_path / "store"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/.secret").write_text("hidden")
    for local in (tmp_path / "nothing", tmp_path / "model"):
        with pytest.raises(ValueError, match=r"not a folder|\.secret"):
            build_toy(store, lambda out, local=local: out.put_folder("model", local))


def test_what_an_interrupted_build_sent_of_a_folder_is_not_sent_again(tmp_path):
    """And what is another file by now is."""
    store = ArtifactStore(str(tmp_path / "store"))
    for name in ("kept", "changed"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes(name.encode() * 1000)

    def put(out):
        out.put_folder("model", tmp_path / "model")

    inside(store, put)
    [home] = (tmp_path / "store/toy").iterdir()
    before = {path.name: path.stat().st_ino for path in (home / "model").iterdir()}
    (tmp_path / "model/changed").write_bytes(b"another")
    artifact = build_toy(store, put)
    after = {path.name: path.stat().st_ino for path in (home / "model").iterdir()}
    assert {name for name in before if before[name] == after[name]} == {"kept"}
    assert store.read(artifact, "model/changed") == b"another"
    assert verify_store(store).damaged == []
    assert not (home / ".work").exists()


def test_a_note_of_what_was_sent_is_believed_only_as_far_as_the_file_agrees(tmp_path):
    store = ArtifactStore(str(tmp_path / "store"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"w" * 1000)

    def put(out):
        out.put_folder("model", tmp_path / "model")

    inside(store, put)
    [home] = (tmp_path / "store/toy").iterdir()
    (home / "model/weights").write_bytes(b"short")
    artifact = build_toy(store, put)
    assert store.read(artifact, "model/weights") == b"w" * 1000
