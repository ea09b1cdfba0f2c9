"""`infra gc` keeps what reports rest on, lists first, and removes only when told to."""

import re
import shutil
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from flows.__main__ import app
from flows.curate import run_stages
from flows.outcome import outcome
from flows.retention import collect, newest
from infra_core.errors import RequestError
from infra_core.recipe import Recipe
from infra_core.store.artifact import Manifest
from infra_core.store.retention import Folder
from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store
from tasks._stage import RunContext


def result(number, stage="report", name="tiny", changed=0.0):
    params = {"recipe": {"name": name}} if stage == "report" else {"name": name, "recipe": {"name": "tiny"}}
    key = f"{number:016x}"
    return Folder(stage, key, changed, 1, 1, Manifest(stage, 1, key, params, {}, {}, {}, 0.0))


def test_the_newest_of_each_recipe_are_kept():
    old, new, other = result(1, changed=1.0), result(2, changed=2.0), result(3, name="qwen7b")
    published = result(4, stage="publish", name="tiny-flip")
    unfinished = replace(result(5, changed=9.0), manifest=None)
    found = [new, old, other, published, unfinished, replace(result(6), stage="train")]
    assert newest(found, 1) == [new, other, published]
    assert newest(found, 2) == [old, new, other, published]


@pytest.fixture
def crowded(finished, tmp_path):
    """A store with the finished run, and with a line of work that no report came of."""
    root = shutil.copytree(finished.ctx.store.root.removeprefix("file://"), tmp_path / "store")
    store = ArtifactStore(str(root))
    store.materialize("ingest", 99, None, {}, lambda out: None, {})
    return store


def gc(store, *options):
    return CliRunner().invoke(app, ["gc", "--store", store.root, *options])


def test_it_lists_and_touches_nothing(crowded):
    before = list(crowded.artifacts())
    told = gc(crowded, "--hours", "0").stdout
    going = re.search(r"(\d+) \(\S+ GB\) would be removed, with --yes", " ".join(told.split()))
    assert going is not None
    assert int(going[1]) >= 1  # other tests leave more in the store that this one is a copy of
    assert list(crowded.artifacts()) == before


def test_after_it_a_run_reuses_everything_that_its_report_rests_on(crowded, finished):
    assert gc(crowded, "--hours", "0", "--yes").exit_code == 0
    assert verify_store(crowded).damaged == []
    ctx = RunContext.here(crowded.root, "cpu")
    report = run_stages(Recipe.load(finished.recipe), ctx)
    assert report.key == finished.report.key
    assert outcome(ctx, "shrunk", report, 0.0).built == 0


def test_what_changed_today_stays(crowded):
    assert collect(crowded.root, 1, (), 24.0, remove_them=True).goes == ()


def test_where_nothing_would_be_kept_nothing_goes(tmp_path):
    store = ArtifactStore(str(tmp_path))
    store.materialize("ingest", 1, None, {}, lambda out: None, {})
    with pytest.raises(RequestError, match="has no finished report; name what to keep by --only"):
        collect(store.root, 1, (), 0.0, remove_them=True)
    assert len(list(store.artifacts())) == 1


def test_those_named_are_kept_and_no_others(crowded):
    chosen = next(found for found in crowded.artifacts() if found.stage == "rate_difficulty")
    found = collect(crowded.root, 1, (chosen.uri,), 0.0, remove_them=True)
    assert {folder.stage for folder in found.stays} == {"base", "ingest", "rate_difficulty"}
    assert verify_store(crowded).damaged == []
    with pytest.raises(RequestError):
        collect(crowded.root, 1, ("nowhere",), 0.0, remove_them=False)
