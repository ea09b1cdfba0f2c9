"""The promises of the store: what exists is whole, and what is whole is never built twice."""

import os
import pickle
import signal
import threading
import time

import pytest
from s3fs import S3FileSystem

from infra_core.errors import DamageError, RequestError, StoreError
from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store
from tests.infra_core.store.builder import PARTS, content


def build_toy(store, build, params=None, inputs=None, version=1):
    return store.materialize("toy", version, params, inputs or {}, build, {"host": "here"})


def write(out, name, content=b"content"):
    with out.open(name) as file:
        file.write(content)


def test_a_restarted_stage_writes_only_what_is_missing(any_store):
    written = []

    def crash_at_two(out):
        for name in out.pending(["0", "1", "2", "3"]):
            if name == "2" and len(written) == 2:
                raise RuntimeError("preempted")
            written.append(name)
            write(out, name, name.encode())

    with pytest.raises(RuntimeError, match="preempted"):
        build_toy(any_store, crash_at_two)
    assert list(any_store.artifacts()) == []
    written.append("-- restart --")
    artifact = build_toy(any_store, crash_at_two)
    assert written == ["0", "1", "-- restart --", "2", "3"]
    assert [any_store.read(artifact, name) for name in any_store.parts(artifact)] == [b"0", b"1", b"2", b"3"]
    assert verify_store(any_store).damaged == []


def test_a_finished_stage_is_not_built_again(store):
    first = build_toy(store, lambda out: write(out, "0"))
    assert store.finished(first)
    assert build_toy(store, _must_not_run) == first


def test_the_manifest_says_what_the_artifact_is(store):
    given = build_toy(store, lambda out: write(out, "0"))
    params = {"rate": 0.5, "unused": None}
    artifact = build_toy(store, lambda out: write(out, "deep/b", b"bb"), params, {"corpus": given}, version=3)
    manifest = store.manifest(artifact)
    assert (manifest.stage, manifest.version, manifest.key) == ("toy", 3, artifact.key)
    assert manifest.params == {"rate": 0.5}
    assert manifest.inputs == {"corpus": given.key}
    sha256 = "3b64db95cb55c763391c707108489ae18b4112d783300de38e033b4c98c3deaf"
    assert manifest.parts == {"deep/b": {"sha256": sha256, "bytes": 2}}
    assert manifest.provenance == {"host": "here"}
    assert manifest.seconds >= 0


def test_nothing_but_parts_and_manifest_is_left_in_a_finished_artifact(any_store, tmp_path):
    def build(out):
        (tmp_path / "state").mkdir()
        (tmp_path / "state/weights").write_bytes(b"w")
        out.save_state("step-1", tmp_path / "state")
        write(out, "0")

    artifact = build_toy(any_store, build)
    assert list(any_store._files().sizes(f"toy/{artifact.key}")) == ["0", "manifest.json"]
    assert any_store._files().sizes(".leases") == {}


def test_two_processes_at_once_leave_one_artifact_built_once(shared_store, start_builder):
    builders = [start_builder(shared_store), start_builder(shared_store)]
    assert [builder.process.wait(120) for builder in builders] == [0, 0]
    notes = [builder.notes() for builder in builders]
    assert sorted("build" in these for these in notes) == [False, True]
    assert len({these[-1] for these in notes}) == 1
    report = verify_store(shared_store)
    assert (report.artifacts, report.parts, report.damaged) == (1, 4, [])


def test_after_sigkill_only_what_is_missing_is_written(shared_store, start_builder):
    """Killed in the middle of a part: that part is not there, and its lease holds nobody up for long."""
    builder = start_builder(shared_store, pause=0.3)
    builder.wait_for("half 2.bin")
    os.kill(builder.process.pid, signal.SIGKILL)
    builder.process.wait()
    written = []

    def resume(out):
        assert out.parts() == ["0.bin", "1.bin"]
        for name in out.pending(PARTS):
            written.append(name)
            write(out, name, content(name))

    start = time.monotonic()
    artifact = shared_store.materialize("slow", 1, None, {}, resume, {})
    assert time.monotonic() - start < (
        1 if "file" in shared_store.root else 3 * shared_store.lease_seconds + 2
    )
    assert written == ["2.bin", "3.bin"]
    assert [shared_store.read(artifact, name) for name in PARTS] == [content(name) for name in PARTS]
    assert verify_store(shared_store).damaged == []


def test_threads_of_one_process_take_turns_too(store):
    builds = []

    def build(out):
        builds.append(1)
        time.sleep(0.1)
        write(out, "0")

    threads = [threading.Thread(target=build_toy, args=(store, build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [1]


def test_a_builder_that_lost_its_lease_commits_nothing_more(shared_store):
    files = shared_store._files()

    def build(out):
        write(out, "0")
        files.remove_file(next(iter(f".leases/{name}" for name in files.sizes(".leases"))))
        write(out, "1")

    with pytest.raises(StoreError, match="lost the lease"):
        build_toy(shared_store, build)
    assert list(shared_store.artifacts()) == []
    resumed = build_toy(shared_store, lambda out: [write(out, name) for name in out.pending(["0", "1"])])
    assert shared_store.parts(resumed) == ["0", "1"]


def test_the_holder_of_the_lease_has_the_last_word(any_store):
    """What a builder that lost its lease put there in its last moment is replaced, manifest and all."""
    files, folder = any_store._files(), f"toy/{any_store.address('toy', 1, None, {}).key}"

    def build(out):
        assert out.pending(["0"]) == ["0"]
        files.put_bytes(f"{folder}/0", b"of the one that lost its lease")
        files.put_bytes(f"{folder}/manifest.json", b"{}")
        write(out, "0", b"of the holder")

    artifact = build_toy(any_store, build)
    assert any_store.read(artifact, "0") == b"of the holder"
    assert verify_store(any_store).damaged == []


def test_moving_the_store_moves_no_key(tmp_path):
    here, there = ArtifactStore(str(tmp_path)), ArtifactStore("s3://bucket/infra")
    params, given = {"seed": 1}, Artifact("ingest", "0" * 16, "file:///elsewhere")
    keys = {place.address("toy", 1, params, {"corpus": given}).key for place in (here, there)}
    assert len(keys) == 1


def test_a_store_moved_by_hand_still_reads(tmp_path):
    """Nothing in a store says where it lies; adopted parts too are named relative to it."""
    before = ArtifactStore(str(tmp_path / "before"))
    identity = {"0": {"shard": "a"}}
    for seed in (1, 2):
        build_toy(before, lambda out: [write(out, name) for name in out.pending(identity)], {"seed": seed})
    (tmp_path / "before").rename(tmp_path / "after")
    after = ArtifactStore(str(tmp_path / "after"))
    assert [after.read(artifact, "0") for artifact in after.artifacts()] == [b"content"] * 2
    assert verify_store(after).damaged == []


def test_a_relative_root_means_the_same_after_a_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = ArtifactStore("store")
    assert store == ArtifactStore(f"{tmp_path}/store/") == ArtifactStore("file://store")
    assert store.root == f"file://{tmp_path}/store"
    assert pickle.loads(pickle.dumps(store)) == store  # noqa: S301 - our own


@pytest.mark.parametrize("root", ["", "s3://", "nosuch://place", "simplecache::s3://bucket"])
def test_what_is_no_store_is_refused_in_words(root):
    with pytest.raises(StoreError, match="store"):
        ArtifactStore(root).probe()


def test_an_address_with_a_password_is_refused_without_telling_it():
    with pytest.raises(StoreError, match="cannot carry a password") as caught:
        ArtifactStore("s3://id:hunter2@bucket/prefix")
    assert "hunter2" not in str(caught.value)


def test_a_file_where_the_store_should_be_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = ArtifactStore(str(tmp_path / "file"))
    for attempt in (store.probe, lambda: build_toy(store, _must_not_run)):
        with pytest.raises(StoreError, match="a file is where a folder should be") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_refused_before_building():
    store = ArtifactStore("/proc/infra-store")
    for attempt in (store.probe, lambda: build_toy(store, _must_not_run)):
        with pytest.raises(StoreError, match="cannot be written"):
            attempt()


def test_a_part_that_is_not_listed_is_refused_with_those_that_are(store):
    artifact = build_toy(store, lambda out: write(out, "0"))
    with pytest.raises(StoreError, match="no part '1'; it has 0"):
        store.read(artifact, "1")


def test_an_unfinished_artifact_is_not_read(any_store):
    with pytest.raises(StoreError, match=r"not finished: it has no manifest\.json"):
        any_store.manifest(any_store.address("toy", 1, None, {}))


def test_a_manifest_in_the_wrong_folder_is_damage(store):
    first = build_toy(store, lambda out: write(out, "0"))
    other = store.address("toy", 2, None, {})
    store._files().put_bytes(
        f"toy/{other.key}/manifest.json", store._files().read(f"toy/{first.key}/manifest.json")
    )
    with pytest.raises(DamageError, match=f"{other.key}/manifest.json is the manifest of toy/{first.key}"):
        store.manifest(other)


def test_parts_are_chosen_by_pattern_and_sorted(store):
    artifact = build_toy(store, lambda out: [write(out, name) for name in ("b/2.x", "a.x", "c.y")])
    assert store.parts(artifact) == ["a.x", "b/2.x", "c.y"]
    assert store.parts(artifact, "*.x") == ["a.x", "b/2.x"]


def test_an_artifact_is_found_by_address_by_stage_and_key_and_by_key(any_store):
    artifact = build_toy(any_store, lambda out: write(out, "0"))
    for address in (artifact.uri, f"{artifact.uri}/", f"toy/{artifact.key}", artifact.key):
        assert any_store.at(address) == artifact
    assert ArtifactStore.of(artifact.uri)[1] == artifact


@pytest.mark.parametrize(
    "address", ["toy", "0" * 16, "../../etc/0123456789abcdef", "s3://other/toy/" + "0" * 16]
)
def test_what_is_no_artifact_of_the_store_is_refused(tmp_path, address):
    with pytest.raises(RequestError, match="no artifact of"):
        ArtifactStore(str(tmp_path)).at(address)


def test_an_artifact_cannot_point_out_of_the_store(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/manifest.json").write_text("{}")
    store = ArtifactStore(str(tmp_path / "store"))
    for stage, key in (("..", "outside"), ("toy", "../../outside"), ("/etc", "0" * 16)):
        with pytest.raises(ValueError, match="stage"):
            store.finished(Artifact(stage, key, ""))
        with pytest.raises(ValueError, match="stage"):
            store.manifest(Artifact(stage, key, ""))
    with pytest.raises(ValueError, match="stage"):
        store.address("../toy", 1, None, {})


@pytest.mark.s3
@pytest.mark.usefixtures("forget_connections")
class TestUnreachable:
    """An object store that will not do is known within seconds, in one line that says which way out."""

    @pytest.fixture(autouse=True)
    def quick(self):
        start = time.monotonic()
        yield
        assert time.monotonic() - start < 20

    def test_no_such_bucket(self, seaweed):
        store = ArtifactStore("s3://nobody-made-this/prefix")
        with pytest.raises(StoreError, match="there is no bucket s3://nobody-made-this") as caught:
            build_toy(store, _must_not_run)
        assert "\n" not in str(caught.value)

    def test_wrong_credentials(self, seaweed, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
        with pytest.raises(StoreError, match="permission denied") as caught:
            build_toy(ArtifactStore(seaweed.url()), _must_not_run)
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_nobody_listens(self, seaweed, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            build_toy(ArtifactStore(seaweed.url()), _must_not_run)
        assert "\n" not in str(caught.value)

    def test_who_may_only_read_can_reuse_but_not_build(self, seaweed, monkeypatch):
        store = ArtifactStore(seaweed.url())
        artifact = build_toy(store, lambda out: write(out, "0"))
        for name, value in seaweed.reader.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        assert build_toy(store, _must_not_run) == artifact
        assert store.read(artifact, "0") == b"content"
        with pytest.raises(StoreError, match="permission denied"):
            build_toy(store, _must_not_run, version=2)


def _must_not_run(out):
    raise AssertionError("built what need not or cannot be built")
