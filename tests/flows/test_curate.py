"""The whole job on a shrunk recipe: killed, resumed, reused, and its report held against its artifacts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from flows.attribute import attribute
from flows.curate import run_stages
from flows.outcome import outcome
from infra_core.corpus.schema import ANSWERS, CORPUS, DROPPED, SCORES
from infra_core.recipe import Recipe
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_tables
from infra_core.store.verify import verify_store
from tasks._stage import RunContext
from tests.flows.conftest import REPOSITORY, part_hashes
from tests.flows.shrunk import shrunk_tiny

PATIENCE = 240  # seconds until a stage is finished, on a slow machine that runs other things


def start(infra, *arguments):
    command, environment = infra
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_when(process, ready):
    """SIGKILL the whole process group as soon as `ready()`; fail if the run ends first."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < deadline, "the run did not get that far"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finished_stages(root: Path, stage: str) -> int:
    return len(list(root.glob(f"{stage}/*/manifest.json")))


def test_a_killed_run_resumes_repeats_nothing_and_ends_like_one_that_was_not(finished, infra, tmp_path):
    """SIGKILL to the process group while it trains; the same command finishes with the same bytes."""
    root = tmp_path / "store"
    process = start(infra, "curate", finished.recipe, "--store", root, "--device", "cpu")
    kill_when(process, lambda: finished_stages(root, "train") >= 1)
    parts = [path for path in root.glob("[!.]*/*/[!.]*") if path.is_file() and path.name != "manifest.json"]
    written = {path: path.stat().st_mtime_ns for path in parts}

    process = start(infra, "curate", finished.recipe, "--store", root, "--device", "cpu", "--json")
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr[-3000:]
    result = json.loads(stdout.splitlines()[-1])
    assert result["built"] > 0
    assert result["reused"] > 0
    assert Path(result["report"].removeprefix("file://")).is_file()
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert part_hashes(ArtifactStore(str(root))) == finished.hashes
    assert "Reused" in stderr  # and it reads as reused


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ingest", "train", "fit_factors", "score", "evaluate"])
def test_killed_at_any_moment(finished, infra, tmp_path, stage):
    """Five moments, each while another stage has just ended and the next one is at work."""
    root = tmp_path / "store"
    arguments = ("curate", finished.recipe, "--store", root, "--device", "cpu")
    kill_when(start(infra, *arguments), lambda: finished_stages(root, stage) >= 1)
    process = start(infra, *arguments)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr[-3000:]
    assert part_hashes(ArtifactStore(str(root))) == finished.hashes


def sampling(root):
    """Whether an exam is half drawn."""
    return list(root.glob("evaluate/*/draws-*/001-*.parquet"))


def judging(root):
    """Whether programs are drawn to the last, and nobody has said yet whether they are right."""
    return [
        last
        for last in root.glob("evaluate/*/draws-answers-tiny_code/002-*.parquet")
        if not (last.parents[1] / "answers-tiny_code.parquet").exists()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("moment", [sampling, judging])
def test_killed_in_the_middle_of_an_exam(finished, infra, tmp_path, moment):
    """Three draws a question at temperature 1: what was drawn stays, and nothing else comes of the rest."""
    exam = yaml.safe_load(finished.recipe.read_text())["evaluate"] | {"draws": 3, "temperature": 1.0}
    recipe = shrunk_tiny(tmp_path, evaluate=exam)
    whole, root = (
        Path(shutil.copytree(finished.ctx.store.root.removeprefix("file://"), tmp_path / name))
        for name in ("whole", "killed")
    )
    run_stages(Recipe.load(recipe), RunContext.here(str(whole), "cpu"))
    arguments = ("curate", recipe, "--store", root, "--device", "cpu")
    kill_when(start(infra, *arguments), lambda: moment(root))
    drawn = {path: path.stat().st_mtime_ns for path in root.glob("evaluate/*/draws-*/*.parquet")}
    process = start(infra, *arguments)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn
    assert part_hashes(ArtifactStore(str(root))) == part_hashes(ArtifactStore(str(whole)))


def test_a_second_run_builds_nothing(finished):
    again = RunContext.here(finished.ctx.store.root, "cpu")
    report = run_stages(Recipe.load(finished.recipe), again)
    assert report == finished.report
    assert outcome(again, "shrunk", report, 0.0).built == 0


def test_of_the_stages_that_a_run_tells_inputs_come_first(finished):
    store, told = finished.ctx.store, set()
    for entry in outcome(finished.ctx, "shrunk", finished.report, 0.0).stages:
        artifact = store.at(entry.uri.removeprefix(f"{store.root}/"))
        assert set(store.manifest(artifact).inputs.values()) <= told
        told.add(artifact.key)
    assert finished.report.key in told


@pytest.mark.slow
def test_a_run_that_reuses_everything_loads_nothing_that_only_building_needs(finished):
    """Models of transformers and what trains them take seconds to load, and so does a plan."""
    store = finished.ctx.store.root
    told = """
import sys
from flows.curate import run
built = [stage for stage in run(sys.argv[1], sys.argv[2]).stages if stage.built]
wanted = {"transformers.modeling_utils", "accelerate", "datasets", "peft", "infra_core.planning.cost"}
print(built, sorted(wanted & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", told, finished.recipe, store],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["[] []"], done.stderr[-2000:]


def test_the_store_verifies(finished):
    found = verify_store(finished.ctx.store)
    assert found.damaged == []
    assert found.artifacts > 15


def the(finished, stage):
    return [
        a
        for _, a in ancestors(finished.ctx.store, finished.report)
        if not isinstance(a, str) and a.stage == stage
    ]


def test_tokens_and_spans_of_every_score_sum_to_its_influence(finished):
    [scores] = the(finished, "score")
    rows = read_tables(finished.ctx.store, scores, SCORES)
    assert len(rows) > 0
    sums = rows.select(
        "influence",
        spans=pl.col("spans").list.sum(),
        tokens=pl.col("tokens").list.sum(),
        size=pl.col("tokens").list.eval(pl.element().abs()).list.sum(),
    )
    for level in ("spans", "tokens"):
        assert sums.filter((pl.col(level) - pl.col("influence")).abs() > 1e-4 * pl.col("size")).is_empty()
    assert rows["influence"].is_finite().all()


def test_rows_in_are_rows_kept_and_rows_dropped(finished):
    """The shrunk sources have 48 rows each, the benchmarks 12."""
    store = finished.ctx.store
    for artifact in the(finished, "ingest"):
        kept = read_tables(store, artifact, CORPUS).group_by("source").len()
        dropped = read_tables(store, artifact, DROPPED, "dropped-*.parquet").group_by("source").len()
        rows = pl.concat([kept, dropped]).group_by("source").agg(pl.col("len").sum())
        assert set(rows["len"]) <= {48, 12}


def test_the_reports_accuracy_is_what_the_answers_hold(finished):
    store = finished.ctx.store
    numbers = json.loads(store.read(finished.report, "numbers.json"))
    inputs = store.manifest(finished.report).inputs
    by_key = {artifact.key: artifact for artifact in the(finished, "evaluate")}
    checked = 0
    for figure in numbers["figures"]:
        if figure["metric"] != "accuracy" or figure.get("band") or figure.get("domain"):
            continue
        runs = [
            by_key[key] for name, key in inputs.items() if name.startswith(f"evaluations.{figure['arm']}.")
        ]
        answers = pl.concat(read_tables(store, run, ANSWERS, "answers-*.parquet") for run in runs)
        accuracy = answers.filter(task=figure["task"])["correct"].mean()
        assert figure["value"] == pytest.approx(accuracy, abs=1e-9)
        assert figure["low"] <= figure["value"] <= figure["high"]
        checked += 1
    assert checked >= 4


def test_every_figure_says_how_many_and_how_often(finished):
    numbers = json.loads(finished.ctx.store.read(finished.report, "numbers.json"))
    assert numbers["power"]
    for figure in numbers["figures"]:
        assert {"value", "low", "high", "n", "seeds", "unit"} <= set(figure)


def test_compressed_queries_say_what_they_lost(finished):
    """Asked for by `energy`: what each block kept, and how a sample ranks beside exact scores."""
    given = Recipe.load(finished.recipe)
    scores = given.scores.model_copy(update={"energy": 0.9})
    found = attribute(given.model_copy(update={"scores": scores}), finished.ctx)
    told = json.loads(finished.ctx.store.read(found.scores, "compression.json"))
    assert min(told["energy"].values()) >= 0.9
    assert {row["group"] for row in told["agreement"]} == {"math/reference", "code/reference"}
    assert all(-1 <= row["spearman"] <= 1 for row in told["agreement"])
    noted = finished.ctx.store.manifest(found.scores).provenance["compression"]
    assert "Spearman" in noted
    frame = read_tables(finished.ctx.store, found.scores, SCORES)
    assert len(frame) == 2 * frame["example_id"].n_unique()
