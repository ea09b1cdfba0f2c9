"""The whole job from a hub, against a stand-in: killed in the middle of the model's download, and resumed."""

import json
from itertools import islice
from threading import Event

import pytest
import yaml

from infra_core.sources.made import made_rows
from infra_core.store.store import ArtifactStore
from tests import tiny
from tests.flows.conftest import part_hashes
from tests.flows.shrunk import shrunk_tiny
from tests.flows.test_curate import PATIENCE, finished_stages, kill_when, start
from tests.hub import COMMIT, Hub, running_hub

SECRET = "hf_" + "s3cret" * 5
MODEL = "org/tiny"
ROWS = "org/rows"


@pytest.fixture
def hub(tmp_path):
    with running_hub() as running:
        running.members.add(SECRET)
        yield running


def from_a_hub(hub: Hub, folder):
    """The shrunk recipe with its model, its corpus and its benchmarks on a hub; the model behind a gate."""
    path = shrunk_tiny(folder, base={"model": {"kind": "pretrained", "model": MODEL, "revision": COMMIT}})
    recipe = yaml.safe_load(path.read_text())
    (folder / "rows").mkdir()
    named = {source["name"]: source for pool in ("sources", "reserve") for source in recipe["corpus"][pool]}
    for name, source in (named | recipe["benchmarks"]).items():
        rows = islice(made_rows(source["uri"]), source["rows"])
        (folder / "rows" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        source |= {"uri": f"hf://datasets/{ROWS}/{name}.jsonl", "revision": COMMIT}
    recipe["train"]["seeds"] = 1
    for section in ("queries", "evaluate"):
        recipe[section]["max_new_tokens"] = 8
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    tiny.qwen2().save_pretrained(folder / "model", max_shard_size="30KB")
    tiny.tokenizer().save_pretrained(folder / "model")
    hub.add("models", MODEL, folder / "model", access="gated")
    hub.add("datasets", ROWS, folder / "rows")
    return path


@pytest.mark.slow
def test_a_run_killed_while_it_downloads_resumes_and_the_next_one_downloads_nothing(
    hub: Hub, infra, tmp_path
):
    recipe, root = from_a_hub(hub, tmp_path), tmp_path / "store"
    command, environment = infra
    there = command, {**environment, **hub.environment(tmp_path / "cache"), "HF_TOKEN": SECRET}
    arguments = ("curate", recipe, "--store", root, "--device", "cpu")
    weights = sorted(file.name for file in (tmp_path / "model").glob("*.safetensors"))
    hub.cut(f"GET .*{weights[-1]}", sent=1000, hold=Event())

    cached = tmp_path / "cache" / "hub"
    process = start(there, *arguments)
    kill_when(process, lambda: whole(cached) >= len(weights) - 1 and weights[-1] in hub.fetched())
    assert finished_stages(root, "base") == 0

    hub.requests.clear()
    process = start(there, *arguments)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr[-3000:]
    assert weights[-1] in hub.fetched()
    assert not {*weights[:-1]} & {*hub.fetched()}
    first = part_hashes(ArtifactStore(str(root)))

    hub.requests.clear()
    process = start(there, *arguments, "--json")
    again, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told[-3000:]
    assert json.loads(again.splitlines()[-1])["built"] == 0
    assert hub.fetched() == []
    assert part_hashes(ArtifactStore(str(root))) == first

    written = b"".join(file.read_bytes() for file in root.rglob("*") if file.is_file())
    assert SECRET not in stdout + stderr + again + told
    assert SECRET.encode() not in written


@pytest.mark.slow
def test_a_gate_that_is_shut_ends_the_run_with_one_line_and_the_way_out(hub: Hub, infra, tmp_path):
    command, environment = infra
    there = command, {**environment, **hub.environment(tmp_path / "cache"), "HF_TOKEN": ""}
    process = start(
        there, "curate", from_a_hub(hub, tmp_path), "--store", tmp_path / "store", "--device", "cpu"
    )
    _, stderr = process.communicate(timeout=PATIENCE)
    (told,) = [line for line in stderr.splitlines() if line.startswith("infra: ")]
    assert process.returncode == 2
    assert told.startswith(f"infra: model {MODEL}")
    assert "hf auth login" in told
    assert "Traceback" not in stderr


def whole(cached) -> int:
    """How many files of weights the cache holds whole."""
    return len(list(cached.glob("*/snapshots/*/*.safetensors")))
