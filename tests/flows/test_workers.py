"""Work shared out to several workers makes the artifacts that one makes."""

import importlib.util
import json

import pytest

from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store
from tests.flows.conftest import part_hashes
from tests.flows.test_curate import PATIENCE, start

CLUSTERS = ["processes", "dask", "ray"]


@pytest.mark.slow
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_two_workers_make_the_artifacts_that_one_makes(finished, infra, tmp_path, cluster):
    """One thread each, as the run that it is held against: then they are the same to the bit."""
    if cluster != "processes" and importlib.util.find_spec(f"prefect_{cluster}") is None:
        pytest.skip(f"pip install 'infra[{cluster}]'")
    root = tmp_path / "store"
    process = start(
        infra, "curate", finished.recipe, "--store", root, "--device", "cpu",
        "--workers", "2", "--cluster", cluster, "--json",
    )  # fmt: skip
    stdout, stderr = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, stderr[-3000:]
    shares = (
        "ingest corpus 2 of 2",
        "screen 2 of 2",
        "fit_eigenbasis 2 of 2",
        "fit_factors 2 of 2",
        "score corpus 2 of 2",
        "evaluate base 0 2 of 2",
    )
    for shared in shares:
        assert f"'{shared}'" in stderr, f"nothing was shared out as {shared}"
    assert json.loads(stdout.splitlines()[-1])["built"] > 0
    store = ArtifactStore(str(root))
    assert part_hashes(store) == finished.hashes
    assert verify_store(store).damaged == []
