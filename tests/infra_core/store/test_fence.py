"""A worker writes on behalf of the lease's holder, and only for as long as the holder has it."""

import os
import signal
import subprocess
import sys

import pytest

from infra_core.errors import StoreError
from infra_core.store.fence import Handed, fence
from infra_core.store.files import Files
from infra_core.store.lease import lease, lease_name
from infra_core.store.verify import verify_store
from infra_core.store.workdir import taken_over

NAME = ".leases/toy"

HOLD = """
import sys, time
from infra_core.store.files import Files
from infra_core.store.lease import lease
with lease(Files.under(sys.argv[1]), ".leases/toy") as held:
    print(held.token, flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def files(request, tmp_path):
    """Stores that workers in other processes can reach."""
    url = f"file://{tmp_path}" if request.param == "file" else request.getfixturevalue("seaweed").url()
    return Files.under(url)


def test_it_holds_while_the_lease_is_held_and_not_after(files):
    with lease(files, NAME) as held:
        check = fence(files, NAME, held.token)
        check()
    with pytest.raises(StoreError, match="lost the lease"):
        check()


def test_it_does_not_hold_for_the_next_holder(files):
    with lease(files, NAME) as first:
        check = fence(files, NAME, first.token)
    with lease(files, NAME) as second:
        assert second.token != first.token
        with pytest.raises(StoreError, match="lost the lease"):
            check()
        fence(files, NAME, second.token)()


def test_on_a_disk_it_ends_with_a_holder_that_is_killed(tmp_path):
    url = f"file://{tmp_path}"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    check = fence(Files.under(url), NAME, holder.stdout.readline().strip())
    check()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with pytest.raises(StoreError, match="lost the lease"):
        check()


def test_what_a_worker_writes_is_in_the_holders_manifest(any_store):
    def build(out):
        out.pending({"a": {"row": 1}, "b": {"row": 2}})
        with out.open("a") as file:
            file.write(b"here")
        with taken_over(out.hand_over()) as elsewhere:
            with elsewhere.open("b") as file:
                file.write(b"there")
            elsewhere.notes["worker"] = "second"
            written = elsewhere.written()
        out.take_back(written)

    artifact = any_store.materialize("toy", 1, None, {}, build, {})
    assert any_store.parts(artifact) == ["a", "b"]
    assert any_store.read(artifact, "b") == b"there"
    assert any_store.manifest(artifact).provenance == {"worker": "second"}
    assert verify_store(any_store).damaged == []

    def again(out):
        assert out.pending({"b": {"row": 2}}) == []  # known by its identity, as if written by the holder

    any_store.materialize("toy", 1, {"other": 1}, {}, again, {})


def test_a_worker_whose_holder_is_gone_writes_nothing(files):
    key = "0123456789abcdef"
    with lease(files, lease_name("toy", key)) as held:
        token = held.token

    handed = Handed(files.url, "toy", 1, key, token, {})
    with taken_over(handed) as out, pytest.raises(StoreError, match="lost the lease"), out.open("a") as file:
        file.write(b"late")
    assert out.parts() == []


def test_what_is_awaited_is_the_first_part_that_is_not_there(any_store):
    seen = []

    def build(out):
        seen.append(out.awaited())
        for name in out.pending(["a", "b"]):
            seen.append(out.awaited())
            with out.open(name) as file:
                file.write(b"x")
        seen.append(out.awaited())

    any_store.materialize("toy", 1, None, {}, build, {})
    assert seen == [None, "a", "b", None]
