"""Wrong requests: one line that says what, where and how to mend it; exit 2; no traceback."""

import gzip
import json

import polars as pl
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from flows.__main__ import RECIPES, app, main
from flows.curate import run_stages
from infra_core.errors import DataError, InfraError, RequestError, StoreError
from infra_core.recipe import Recipe
from tasks._stage import RunContext
from tasks.base import base as base_stage
from tasks.base import pinned
from tasks.ingest import catalogued, ingest
from tests.flows.shrunk import shrunk_tiny

ROW = {"problem": "1+1=?", "solution": "#### 2", "answer": "2", "tests": None, "level": "1/4"}


@pytest.fixture
def recipe(tmp_path):
    """Load the shrunk recipe with its maths corpus read from a file that the test writes."""

    def load(uri, **changes):
        given = yaml.safe_load(shrunk_tiny(tmp_path).read_text())
        given["corpus"]["sources"][0]["uri"] = str(uri)
        given["corpus"]["sources"] = given["corpus"]["sources"][:1]
        given["base"] = {"model": given["base"]["model"]}  # fails before training matters
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(given | changes))
        return Recipe.load(path)

    return load


def refusal(recipe, tmp_path, kind=DataError):
    with pytest.raises(kind) as caught:
        run_stages(recipe, RunContext.here(str(tmp_path / "store"), "cpu"))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file(recipe, tmp_path):
    assert "nowhere.jsonl" in refusal(recipe(tmp_path / "nowhere.jsonl"), tmp_path)


def test_a_column_that_no_row_has(recipe, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"question": "1+1=?", "solution": "2", "level": None, "answer": "2", "tests": 0})
    )
    told = refusal(recipe(path), tmp_path)
    assert "'problem'" in told
    assert "question" in told  # what there is instead


def test_a_corpus_of_which_every_row_is_dropped_keeps_their_reasons(recipe, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(ROW | {"solution": None, "problem": str(n)}) for n in range(3)))
    told = refusal(recipe(path), tmp_path)
    assert "no usable row" in told
    assert list((tmp_path / "store" / "ingest").glob("*/dropped-*.parquet"))


def test_a_truncated_gzip(recipe, tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(
        gzip.compress("".join(json.dumps(ROW | {"n": n}) + "\n" for n in range(500)).encode())[:-40]
    )
    told = refusal(recipe(path), tmp_path)
    assert "a.jsonl.gz" in told
    assert "Truncated" in told


def test_a_level_nobody_maps_keeps_its_row(recipe, tmp_path):
    """The row has no difficulty, and the rest of the work goes on."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROW | {"level": "brutal"}))
    given = recipe(path)
    ctx = RunContext.here(str(tmp_path / "store"), "cpu")
    artifact = ingest(ctx, params=catalogued(given.corpus.sources, given.corpus.clean, need_response=True))
    [part] = [name for name in ctx.store.parts(artifact) if not name.startswith("dropped-")]
    [row] = pl.read_parquet(ctx.store.read(artifact, part)).to_dicts()
    assert row["difficulty_raw"] == "brutal"
    assert row["difficulty"] is None


def test_a_model_folder_without_weights(recipe, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    base = {"model": {"kind": "pretrained", "model": str(tmp_path / "model")}}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROW))
    given = recipe(path, base=base)
    with pytest.raises(DataError, match="safetensors"):
        base_stage(RunContext.here(str(tmp_path / "store"), "cpu"), params=pinned(given.base.model))


def test_a_file_where_the_store_should_be(tmp_path):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(StoreError) as caught:
        RunContext.here(str(tmp_path / "store"), "cpu").store.probe()
    assert caught.value.exit_code == 2


def command(*arguments) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_an_unknown_recipe_names_those_there_are():
    found = command("curate", "nothing")
    assert isinstance(found.exception, RequestError)
    assert ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml"))) in str(found.exception)


def test_the_command_says_it_in_one_line_and_exits_with_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["infra", "plan", "tiny", "--memory", "much"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "infra: --memory 'much' is no size; write 80GB, or one of l4, a10, l40s, a100, h100, h200, mi300x"
    ]


@pytest.mark.parametrize("arguments", [["curate"], ["curate", "tiny", "--speed", "9"], ["fly"]])
def test_an_unknown_option_or_command_is_one_line_too(monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.argv", ["infra", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("uri", ["nowhere", "file:///tmp", "/a/b/c"])
def test_what_is_no_artifact_is_refused(uri):
    for name in ("show", "lineage"):
        assert isinstance(command(name, uri).exception, InfraError)
