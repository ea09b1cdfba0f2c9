"""The dress rehearsal of a recipe for eight GPUs: its stages and code, two processes, an S3 store."""

import json
import subprocess

import pytest

from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store
from tests.flows.conftest import REPOSITORY
from tests.flows.test_curate import PATIENCE

STAGES = {
    "base", "ingest", "screen", "rate_difficulty", "mix", "train", "collect_queries", "fit_eigenbasis",
    "fit_factors", "score", "behaviours", "evaluate", "report",
}  # fmt: skip


@pytest.mark.slow
def test_qwen7b_is_rehearsed_whole_by_two_processes_on_s3(infra, seaweed):
    command, environment = infra
    where = seaweed.url()
    asked = ["curate", "qwen7b", "--rehearse", "--store", where, "--device", "cpu"]
    done = subprocess.run(
        [*command, *asked, "--processes", "2", "--workers", "2", "--json"],
        env=environment | seaweed.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False,
        timeout=3 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told["artifacts"]) == STAGES
    shares = ("fit_eigenbasis 2 of 2", "fit_factors 2 of 2", "score corpus 2 of 2", "evaluate base 0 2 of 2")
    for shared in shares:
        assert f"'{shared}'" in done.stderr, f"nothing was shared out as {shared}"
    store = ArtifactStore(where)
    for uri in told["artifacts"]["train"]:
        assert store.manifest(store.at(uri)).provenance["processes"] == "2"
    report = store.at(told["artifacts"]["report"])
    assert {"report.html", "report.md", "numbers.json"} <= set(store.parts(report))
    assert verify_store(store).damaged == []
