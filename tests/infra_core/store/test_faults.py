"""A store whose server refuses, breaks off, dawdles or is gone for a while loses nothing."""

import os

import fsspec
import pytest

from infra_core.errors import StoreError, UnreachableError
from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store
from tests.fault_proxy import fault_proxy
from tests.faults import another_time, small_disk
from tests.infra_core.store.builder import PARTS, content
from tests.services import BUCKET, free_ports, running_seaweed

pytestmark = pytest.mark.chaos

MANY = {f"{number:03d}.bin": os.urandom(1) * (1 + 997 * number) for number in range(40)}


@pytest.fixture
def proxy(seaweed, monkeypatch, forget_connections):
    """A proxy before the S3 server that this process talks to from now on."""
    [port] = free_ports(1)
    with fault_proxy(seaweed.endpoint, port) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", between.endpoint)
        yield between


@pytest.fixture
def through(proxy, seaweed):
    return ArtifactStore(seaweed.url(), lease_seconds=10.0)


def write_many(out):
    for name in out.pending({name: {"part": name} for name in MANY}):
        with out.open(name) as file:
            file.write(MANY[name])


@pytest.mark.slow
def test_refused_broken_off_and_late_answers_change_nothing(proxy, through):
    """5 % of requests answered 503, 5 % broken off, 5 % late; a stage is tried again, as tasks are."""
    proxy.refused = proxy.cut = proxy.slow = 0.05
    proxy.delay = 0.3
    for _ in range(5):
        try:
            artifact = through.materialize("toy", 1, None, {}, write_many, {})
            read = {name: through.read(artifact, name) for name in MANY}
            break
        except UnreachableError:
            continue
    proxy.refused = proxy.cut = proxy.slow = 0.0
    assert read == MANY
    assert verify_store(through).damaged == []
    assert through._files().sizes(".leases") == {}
    assert min(proxy.met[fate] for fate in ("refused", "cut", "slow")) > 0


@pytest.mark.slow
def test_what_was_written_before_a_server_fell_silent_is_not_written_again(proxy, through):
    done = []

    def build(out):
        for name in out.pending(list(MANY)):
            if len(done) == 5:
                proxy.target = None
            done.append(name)
            with out.open(name) as file:
                file.write(MANY[name])

    target = proxy.target
    with pytest.raises(UnreachableError):
        through.materialize("toy", 1, None, {}, build, {})
    proxy.target = target
    assert done == list(MANY)[:6]
    artifact = through.materialize("toy", 1, None, {}, build, {})
    assert done[6:] == list(MANY)[5:]
    assert {name: through.read(artifact, name) for name in MANY} == MANY


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_has_all_that_it_took(
    tmp_path, monkeypatch, forget_connections
):
    """Down for some seconds in the middle of a build, which goes on by itself once asked again."""
    [port] = free_ports(1)
    with running_seaweed(tmp_path) as first, fault_proxy(first.endpoint, port) as between:
        for name, value in (first.environment | {"AWS_ENDPOINT_URL_S3": between.endpoint}).items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3", skip_instance_cache=True).call_s3("create_bucket", Bucket=BUCKET)
        store = ArtifactStore(f"s3://{BUCKET}/here", lease_seconds=10.0)

        def half(out):
            for name in list(MANY)[:20]:
                with out.open(name) as file:
                    file.write(MANY[name])
            raise RuntimeError("the machine went down")

        with pytest.raises(RuntimeError):
            store.materialize("toy", 1, None, {}, half, {})
        between.target = None
        killed = first
    with fault_proxy(None, port) as between:
        with pytest.raises(StoreError):
            store.materialize("toy", 1, None, {}, write_many, {})
        with running_seaweed(tmp_path) as second:
            assert second.endpoint != killed.endpoint
            between.target = second.endpoint
            artifact = store.materialize("toy", 1, None, {}, write_many, {})
            assert {name: store.read(artifact, name) for name in MANY} == MANY
            assert verify_store(store).damaged == []


@pytest.mark.slow
def test_a_large_part_goes_up_in_pieces_and_comes_back_as_the_same_bytes(seaweed):
    store = ArtifactStore(seaweed.url())
    large = os.urandom(110 * 2**20)

    def build(out):
        with out.open("large") as file:
            file.write(large)

    artifact = store.materialize("toy", 1, None, {}, build, {})
    files = fsspec.filesystem("s3", use_listings_cache=False)
    assert "-" in files.info(f"{artifact.uri}/large")["ETag"]  # S3 names what came in pieces so
    assert store.read(artifact, "large") == large
    assert verify_store(store).damaged == []


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as made:
        yield made.place


def test_a_full_disk_says_so_and_what_is_whole_is_kept(disk):
    store = ArtifactStore(str(disk / "store"))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    large = {name: name.encode() * 50_000 for name in PARTS}  # 250 kB each

    def build(out):
        for name in out.pending(PARTS):
            with out.open(name) as file:
                file.write(large[name])

    with pytest.raises(StoreError, match=r"(disk is full|no space left).* free some") as caught:
        store.materialize("toy", 1, None, {}, build, {})
    assert caught.value.exit_code == 2
    written = {path: path.stat().st_mtime_ns for path in (disk / "store/toy").glob("*/*.bin")}
    assert 1 <= len(written) < len(PARTS)
    ballast.unlink()
    artifact = store.materialize("toy", 1, None, {}, lambda out: build(out), {})
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert {name: store.read(artifact, name) for name in PARTS} == large


def build_in_two_times(store, start_builder, monkeypatch, leap):
    """Have two processes build one artifact, of which the second lives in another time."""
    elsewhen = another_time(leap)
    first = start_builder(store, pause=0.5)
    first.wait_for("half 1.bin", 60)
    for name, value in elsewhen.items():
        monkeypatch.setenv(name, value)
    second = start_builder(store, pause=0.5)
    assert [builder.process.wait(180) for builder in (first, second)] == [0, 0]
    assert ["build" in builder.notes() for builder in (first, second)] == [True, False]
    assert first.notes()[-1] == second.notes()[-1]
    artifact = next(iter(store.artifacts()))
    assert [store.read(artifact, name) for name in PARTS] == [content(name) for name in PARTS]


@pytest.mark.slow
@pytest.mark.parametrize("leap", ["+10m", "-10m"])
def test_two_builders_whose_clocks_disagree_build_once(shared_store, start_builder, monkeypatch, leap):
    """By many lifetimes of a lease, and by less than S3 allows for signatures."""
    build_in_two_times(shared_store, start_builder, monkeypatch, leap)


@pytest.mark.slow
@pytest.mark.parametrize("leap", ["+3d", "-3d"])
def test_on_a_disk_days_are_no_difference(tmp_path, start_builder, monkeypatch, leap):
    build_in_two_times(ArtifactStore(str(tmp_path / "store")), start_builder, monkeypatch, leap)
