"""One holder at a time, and a dead holder holds nobody up."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from infra_core.errors import StoreError
from infra_core.store.files import Files
from infra_core.store.lease import _ObjectLease, lease

HOLD_AND_FORK = """
import os, sys, time
from infra_core.store.files import Files
from infra_core.store.lease import lease
with lease(Files.under(sys.argv[1]), ".leases/toy"):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


def test_the_second_waits_for_the_first(any_store):
    files, turns = Files.under(any_store.root), []

    def second():
        with lease(Files.under(any_store.root), ".leases/toy", 2.0):
            turns.append("second")

    with lease(files, ".leases/toy", 2.0) as check:
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.3)
        check()
        turns.append("first")
    waiting.join(10)
    assert turns == ["first", "second"]
    assert files.sizes(".leases") == {}


def test_an_error_in_the_holder_frees_the_lease(store):
    files = Files.under(store.root)
    with pytest.raises(ZeroDivisionError), lease(files, ".leases/toy"):
        _ = 1 / 0
    start = time.monotonic()
    with lease(files, ".leases/toy"):
        assert time.monotonic() - start < 5


def test_a_child_of_a_killed_holder_does_not_keep_the_lease(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_FORK, f"file://{tmp_path}"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    child = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        start = time.monotonic()
        with lease(Files.under(f"file://{tmp_path}"), ".leases/toy"):
            assert time.monotonic() - start < 5
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()


@pytest.mark.s3
def test_a_lease_on_s3_outlives_its_lifetime_while_its_holder_lives(seaweed):
    files = Files.under(seaweed.url())
    with lease(files, ".leases/toy", 1.0) as check:
        time.sleep(2.5)
        assert not _ObjectLease(files, ".leases/toy", 1.0).take()
        check()


@pytest.mark.s3
def test_a_holder_that_stood_still_too_long_knows_it(seaweed):
    """As after a suspended machine: its lease was taken over, so it may commit nothing more."""
    files = Files.under(seaweed.url())
    still, quick = (_ObjectLease(files, ".leases/toy", 0.5) for _ in range(2))
    assert still.take()
    assert not quick.take()
    end = time.monotonic() + 10
    while not quick.take():
        assert time.monotonic() < end
        time.sleep(0.2)
    with pytest.raises(StoreError, match="lost the lease"):
        still.renew()
    still.release()
    quick.renew()
    quick.release()
    assert files.sizes(".leases") == {}


@pytest.mark.s3
def test_a_renewal_whose_answer_was_lost_loses_no_lease(seaweed):
    held = _ObjectLease(Files.under(seaweed.url()), ".leases/toy", 5.0)
    assert held.take()
    before = held._etag
    held.renew()
    held._etag = before  # as if that answer had never come
    held.renew()
