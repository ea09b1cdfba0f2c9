"""Whole runs that are killed, cut off, damaged and crowded: nothing is lost, nothing made twice, same hashes.

Crashes of the parts of a machine, with Prefect, are in test_service.py; those of a store by itself in
tests/infra_core/store/test_faults.py. ``INFRA_CHAOS_KILLS`` says how often the long test kills.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from uuid import uuid4

import fsspec
import psutil
import pytest
import yaml
from s3fs import S3FileSystem

from flows.curate import run_stages
from infra_core.errors import DamageError
from infra_core.recipe import Recipe
from infra_core.store.artifact import MANIFEST
from infra_core.store.store import ArtifactStore
from infra_core.store.transport import reach_bucket
from infra_core.store.verify import verify_store
from tasks._stage import RunContext
from tests.fault_proxy import fault_proxy
from tests.faults import another_time, small_disk
from tests.flows.conftest import REPOSITORY, finished_files, part_hashes
from tests.flows.shrunk import shrunk_tiny
from tests.flows.test_curate import PATIENCE, start
from tests.services import BUCKET, free_ports, running_seaweed

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("INFRA_CHAOS_KILLS", "6"))
MARK = "INFRA_CHAOS_MARK"  # in the environment of a run and all its children
LONGEST = 6.0  # seconds of a processor before a kill
SIZES = {"store": "1m", "scratch": "64k"}  # of disks that fill up: in the middle of a run, at the first model


class Straight:
    """A run without Prefect, in a process that can be killed."""

    def __init__(self, recipe, store, **environment):
        self.mark = uuid4().hex
        ours = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", MARK: self.mark}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.straight", str(recipe), str(store)],
            env=os.environ | ours | environment, cwd=REPOSITORY, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def begins(self):
        said = self.process.stdout.readline()
        assert said == "begun\n", (self.process.wait(), self.process.communicate()[1][-2000:])

    def works(self, seconds):
        """Wait until it has had so much of a processor, which a busy machine gives late; or until it ends."""
        deadline, begin = time.monotonic() + 20 * LONGEST, self.worked()
        while self.process.poll() is None and self.worked() < begin + seconds:
            if time.monotonic() > deadline:  # it waits for something
                break
            time.sleep(0.2)

    def worked(self):
        """The seconds of a processor that it and its children have had."""
        used = 0.0
        with suppress(psutil.NoSuchProcess):
            run = psutil.Process(self.process.pid)
            for one in (run, *run.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    used += sum(one.cpu_times()[:4])  # with those of children that ended
        return used

    def ends(self):
        """Wait for its end and return the key of its report."""
        stdout, stderr = self.process.communicate(timeout=3 * PATIENCE)
        assert self.process.returncode == 0, stderr[-3000:]
        return stdout.splitlines()[-1]

    def family(self):
        """Every process that it started, itself first, whoever their parent is by now."""
        found = []
        for one in psutil.process_iter():
            try:
                if one.environ().get(MARK) == self.mark and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
            except psutil.Error:
                continue
        return sorted(found, key=lambda one: (one.pid != self.process.pid, one.create_time()))


def killed_once(run, random):
    """Let a run work for a while and kill it, perhaps after one of its children; return how many died."""
    run.begins()
    run.works(random.uniform(0, LONGEST))
    died, children = 0, run.family()[1:]
    if children and random.random() < 0.7:
        random.choice(children).kill()
        died += 1
        run.works(random.uniform(0, LONGEST))
    if run.process.poll() is None:
        run.process.kill()
        died += 1
    _, stderr = run.process.communicate()
    assert run.process.returncode in {0, -signal.SIGKILL}, stderr[-3000:]
    deadline = time.monotonic() + 30
    while left := run.family():
        assert time.monotonic() < deadline, f"{left} outlived the run"
        time.sleep(0.1)
    return died


@pytest.mark.timeout(3600)
def test_killed_at_random_moments(finished, tmp_path):
    """The run, or first one of its children: over and over until it is through, then from the start."""
    random, killed, through = Random(7), 0, 0  # noqa: S311 - not for secrets
    while killed < KILLS:
        root, written, over = tmp_path / f"store{through}", {}, False
        while killed < KILLS and not over:
            run = Straight(finished.recipe, root)
            killed += killed_once(run, random)
            over = run.process.returncode == 0
            now = finished_files(root)
            assert written.items() <= now.items(), "what was whole was lost or made again"
            written = now
        assert Straight(finished.recipe, root).ends() == finished.report.key
        assert written.items() <= finished_files(root).items()
        assert part_hashes(ArtifactStore(str(root))) == finished.hashes
        through += 1


def test_several_workers_given_the_same_run_and_another_that_shares_its_stages(finished, tmp_path):
    """Two runs of one recipe and one of a recipe with another arm, all at once on one store."""
    given = yaml.safe_load(finished.recipe.read_text())
    mixtures = {"flip": given["mixtures"]["flip"], "reverse": {"kind": "reverse", "like": "flip"}}
    other = shrunk_tiny(tmp_path, mixtures=mixtures, name="other")
    root = tmp_path / "store"
    runs = [Straight(recipe, root) for recipe in (finished.recipe, finished.recipe, other)]
    keys = [run.ends() for run in runs]
    assert keys[0] == keys[1] == finished.report.key != keys[2]
    store = ArtifactStore(str(root))
    together = part_hashes(store)
    assert finished.hashes.items() <= together.items()
    alone = RunContext.here(str(tmp_path / "alone"), "cpu")
    run_stages(Recipe.load(other), alone)
    assert part_hashes(alone.store).items() <= together.items()
    assert verify_store(store).damaged == []


def forget_connections():
    """Let s3fs look at the environment anew."""
    S3FileSystem.clear_instance_cache()
    reach_bucket.cache_clear()


def test_a_whole_run_on_s3_whose_server_refuses_breaks_off_dawdles_and_goes_away(
    finished, seaweed, monkeypatch, tmp_path
):
    """5 % of requests answered 503, 2 % broken off, 2 % late, and once nothing for ten seconds."""
    [port] = free_ports(1)
    store = seaweed.url()
    with fault_proxy(seaweed.endpoint, port) as proxy:
        proxy.refused, proxy.cut, proxy.slow = 0.05, 0.02, 0.02
        environment = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "INFRA_CACHE": str(tmp_path / "cache")}
        tries, cut_off = 0, False
        while True:
            tries += 1
            run = Straight(finished.recipe, store, **environment)
            run.begins()
            while not cut_off and run.process.poll() is None and proxy.met["passed"] < 150:
                time.sleep(0.2)
            if not cut_off:
                cut_off, target, proxy.target = True, proxy.target, None
                time.sleep(10)
                proxy.target = target
            stdout, stderr = run.process.communicate(timeout=3 * PATIENCE)
            if run.process.returncode == 0:
                break
            # Without Prefect nobody tries a stage again but the one who starts the run.
            assert stderr.splitlines()[-1].startswith("UnreachableError: "), stderr[-3000:]
            assert tries < 6
    assert min(proxy.met[fate] for fate in ("refused", "cut", "slow", "gone")) > 0, proxy.met
    forget_connections()
    assert stdout.splitlines()[-1] == finished.report.key
    assert part_hashes(ArtifactStore(store)) == finished.hashes
    assert verify_store(ArtifactStore(store)).damaged == []


def test_a_run_waits_for_an_s3_server_that_is_away_for_a_minute(finished, infra, monkeypatch, tmp_path):
    """Killed in the middle and started again: Prefect tries the stage again, and it is one run."""
    [port] = free_ports(1)
    command, environment = infra
    with fault_proxy(None, port) as proxy:
        with running_seaweed(tmp_path) as server:
            proxy.target = server.endpoint
            reach = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "INFRA_CACHE": str(tmp_path / "cache")}
            for name, value in (server.environment | reach).items():
                monkeypatch.setenv(name, value)
            forget_connections()
            fsspec.filesystem("s3", skip_instance_cache=True).call_s3("create_bucket", Bucket=BUCKET)
            infra = command, {**environment, **server.environment, **reach}
            asked = ("--store", f"s3://{BUCKET}/here", "--device", "cpu", "--json")
            run = start(infra, "curate", finished.recipe, *asked)
            while proxy.met["passed"] < 150:
                assert run.poll() is None, run.communicate()[1][-3000:]
                time.sleep(0.2)
            proxy.target = None
        time.sleep(60)
        with running_seaweed(tmp_path) as server:
            proxy.target = server.endpoint
            _, stderr = run.communicate(timeout=3 * PATIENCE)
            assert run.returncode == 0, stderr[-3000:]
            assert "Retry 1/" in stderr
            assert proxy.met["gone"] > 0
            store = ArtifactStore(f"s3://{BUCKET}/here")
            assert part_hashes(store) == finished.hashes
            assert verify_store(store).damaged == []
    forget_connections()


@pytest.mark.parametrize("full", ["store", "scratch"])
def test_a_full_disk_is_said_in_a_sentence_and_with_more_room_the_run_goes_on(finished, tmp_path, full):
    """The disk of the store, or the one where models wait until they are stored."""
    with TemporaryDirectory() as place, small_disk(Path(place, "disk"), SIZES[full]) as disk:
        Path(place).chmod(0o711)  # as in conftest.py
        disk.place.chmod(0o711)
        (scratch := Path(place, "scratch")).mkdir(mode=0o711)
        places = {"store": tmp_path / "store", "scratch": scratch, full: disk.place}
        environment = {"TMPDIR": str(places["scratch"])}
        run = Straight(finished.recipe, places["store"], **environment)
        _, stderr = run.process.communicate(timeout=3 * PATIENCE)
        assert run.process.returncode == 1, stderr[-3000:]
        told = stderr.splitlines()[-1]
        assert told.startswith("StoreError: ")
        assert "free some" in told
        assert told.endswith("run again: what is whole is kept")
        written = finished_files(places["store"])
        assert bool(written) == (full == "store")

        disk.grow("64m")
        assert Straight(finished.recipe, places["store"], **environment).ends() == finished.report.key
        assert written.items() <= finished_files(places["store"]).items()
        store = ArtifactStore(str(places["store"]))
        assert part_hashes(store) == finished.hashes


@pytest.mark.parametrize(("kind", "leap"), [("file", "2d"), ("s3", "10m")])
def test_a_clock_that_jumps_forth_and_back_changes_nothing(finished, request, tmp_path, kind, leap):
    """Every second; on S3 by many lifetimes of a lease, and by less than is allowed for signatures."""
    store = request.getfixturevalue("seaweed").url() if kind == "s3" else str(tmp_path / "store")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = another_time(clock) | {"INFRA_CACHE": str(tmp_path / "cache")}
    run = Straight(finished.recipe, store, **environment)
    run.begins()
    for jump in cycle((f"+{leap}", f"-{leap}", "+0")):
        if run.process.poll() is not None:
            break
        clock.write_text(jump)
        time.sleep(1)
    assert run.ends() == finished.report.key
    found = ArtifactStore(store)
    assert part_hashes(found) == finished.hashes
    assert all(0 <= found.manifest(artifact).seconds < 600 for artifact in found.artifacts())


def flip(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


HARMS = {
    "part cut short": ("*.parquet", lambda content: content[:-9]),
    "part with a flipped bit": ("*.parquet", flip),
    "part gone": ("*.parquet", None),
    "manifest gone": (MANIFEST, None),
    "manifest half written": (MANIFEST, lambda content: content[: len(content) // 2]),
    "manifest of a newer version": (
        MANIFEST,
        lambda content: content.replace(b'"format": 1', b'"format": 2'),
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_named_and_mended_as_the_message_says(finished, tmp_path, harm):
    """In the scores; mixtures and report, which rest on them, are gone and so asked for."""
    pattern, change = HARMS[harm]
    root = Path(shutil.copytree(finished.ctx.store.root.removeprefix("file://"), tmp_path / "store"))
    shutil.rmtree(root / "report")
    for mixture in root.glob("mix/*"):
        shutil.rmtree(mixture)
    victim = sorted(root.glob(f"score/*/{pattern}"))[0]
    victim.write_bytes(change(victim.read_bytes())) if change else victim.unlink()
    ctx, told = RunContext.here(str(root), "cpu"), ""
    for _ in range(3):
        try:
            report = run_stages(Recipe.load(finished.recipe), ctx)
            break
        except DamageError as error:
            told = str(error)
            assert str(victim.relative_to(root)) in told or victim.name in told
            names = [word.rstrip(";") for word in told.split("; delete ")[1].split() if "/" in word]
            for name in names or [str(victim.relative_to(root))]:
                (root / name).unlink(missing_ok=True)
    assert bool(told) == (harm != "manifest gone")  # then its parts are there, and are what they were
    assert report.key == finished.report.key
    assert part_hashes(ctx.store) == finished.hashes
    assert verify_store(ctx.store).damaged == []
