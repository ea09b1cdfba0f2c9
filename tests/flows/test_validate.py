"""Retraining on subsets: begun again where it was killed, shared out, grown by what is new, told in full."""

import json

import polars as pl
import pytest

from flows.__main__ import RECIPES, recipe_path
from flows.validate import run_stages
from infra_core.errors import RequestError
from infra_core.recipe import Recipe, ValidityParams
from infra_core.recipe.rehearsal import rehearsal
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_tables
from infra_core.validity.judging import OUTCOMES
from tests.flows.shrunk import shrunk_tiny
from tests.flows.test_curate import PATIENCE, kill_when, start

METHODS = ("identity", "length")
FEW = ValidityParams(subsets={"random": 2}, methods=METHODS)


def made(ctx, page, stage):
    """The artifact of a stage that a page rests on."""
    found = [
        each for _, each in ancestors(ctx.store, page) if isinstance(each, Artifact) and each.stage == stage
    ]
    return found[0]


def test_a_bank_grows_by_what_is_new_to_it_and_so_do_scores(finished):
    """Nothing is trained or scored again: parts of the smaller bank are adopted, wherever they lie."""
    ctx, given = finished.ctx, Recipe.load(finished.recipe)
    small = run_stages(given, FEW, ctx)
    more = FEW.model_copy(update={"subsets": {"random": 3}, "methods": (*METHODS, "random")})
    large = run_stages(given, more, ctx)
    parts = ctx.store.manifest(made(ctx, large, "retrain")).parts
    assert {name: "at" in part for name, part in parts.items()} == {
        f"random-{subset:03d}-{seed}.parquet": subset < 2 for subset in range(3) for seed in range(2)
    }
    scored = ctx.store.manifest(made(ctx, large, "rivals")).parts
    assert {name for name, part in scored.items() if "at" not in part} == {
        "random.parquet",
        "cost-random.json",
    }
    assert run_stages(given, FEW, ctx) == small


def test_seeds_and_subsets_differ_and_every_query_is_told_of(finished):
    ctx = finished.ctx
    page = run_stages(Recipe.load(finished.recipe), FEW, ctx)
    told = read_tables(ctx.store, made(ctx, page, "retrain"), OUTCOMES)
    assert told.group_by("subset", "seed").len()["len"].to_list() == [24] * 4
    assert (told["log_likelihood"] < 0).all()
    apart = told.group_by("subset", "seed").agg(pl.col("log_likelihood").sum())
    assert apart["log_likelihood"].n_unique() == 4
    numbers = json.loads(ctx.store.read(page, "numbers.json"))
    assert {"seed", "recipe", "figures", "versions"} <= set(numbers)
    assert {figure["n"] for figure in numbers["figures"] if figure["metric"] == "lds"} == {2}


def test_labels_are_masked_beside_their_controls_and_the_page_says_what_that_did(finished):
    """Operators are what sums are made of: unlearnt they are missed, as influence had foretold."""
    ctx, given = finished.ctx, Recipe.load(finished.recipe)
    page = run_stages(given, FEW.model_copy(update={"ablated": ("operator", "verification")}), ctx)
    parts = ctx.store.manifest(made(ctx, page, "retrain")).parts
    trained = {f"operator-{kind}-{seed}.parquet" for kind in ("masked", "control") for seed in range(2)}
    assert set(parts) == trained | {f"random-00{subset}-{seed}.parquet" for subset in "01" for seed in "01"}
    assert len({parts[name]["sha256"] for name in trained}) == len(trained)
    figures = {each["id"]: each for each in json.loads(ctx.store.read(page, "numbers.json"))["figures"]}
    of_sums = "group=math/reference/against=control/token_class=operator"
    assert figures[f"taken away/{of_sums}"]["high"] < 0
    assert figures[f"foretold/{of_sums}/rule=position"]["high"] < 0
    assert figures["rows masked/behaviour=verification"]["value"] == 0
    assert "no span of this label" in ctx.store.read(page, "report.md").decode()


@pytest.mark.slow
def test_rows_of_which_something_else_is_masked_are_trained_on_anew(finished):
    """The same rows under the same seeds. What was trained on is adopted, and without labels no key moves."""
    ctx, given = finished.ctx, Recipe.load(finished.recipe)
    plain = run_stages(given, FEW, ctx)
    run_stages(given, FEW.model_copy(update={"ablated": ("operator",)}), ctx)
    page = run_stages(given, FEW.model_copy(update={"ablated": ("syntax", "operator")}), ctx)
    parts = ctx.store.manifest(made(ctx, page, "retrain")).parts
    anew = {f"syntax-{kind}-{seed}.parquet" for kind in ("masked", "control") for seed in range(2)}
    assert {name for name, part in parts.items() if "at" not in part} == anew
    assert len({part["sha256"] for part in parts.values()}) == len(parts) == 12
    assert run_stages(given, FEW, ctx) == plain


def test_a_recipe_that_does_not_say_how_is_told_what_to_add():
    with pytest.raises(RequestError, match=r"tiny_flip has no section validity.*add one"):
        Recipe.load(RECIPES / "tiny_flip.yaml").require_validity()


def test_how_scores_are_tested_moves_no_key_of_what_curation_makes():
    given = Recipe.load(recipe_path("tiny"))
    assert given.validity is not None
    assert given.placeless() == given.model_copy(update={"validity": None}).placeless()
    shrunk = rehearsal(given).validity
    assert shrunk is not None
    assert max(shrunk.subsets.values()) <= 4
    assert shrunk.ablation_trainings == shrunk.seeds == 2


@pytest.mark.slow
def test_killed_while_it_retrains_it_goes_on_with_two_workers_to_the_same_outcomes(infra, tmp_path):
    """SIGKILL to all of it after three models; what these said is not asked again."""
    section = {
        "subsets": {"random": 4, "domain": 2},
        "methods": list(METHODS),
        "planted": 0.05,
        "ablated": ["operator"],
        "tail_patch": 2,
    }
    recipe = shrunk_tiny(tmp_path, validity=section)
    roots = tmp_path / "killed", tmp_path / "quiet"
    process = start(infra, "validate", recipe, "--store", roots[0], "--device", "cpu")
    kill_when(process, lambda: len(list(roots[0].glob("retrain/*/*.parquet"))) >= 3)
    written = {path: path.stat().st_mtime_ns for path in roots[0].glob("retrain/*/*.parquet")}
    assert 3 <= len(written) < 16

    def finish(root, *more):
        process = start(infra, "validate", recipe, "--store", root, "--device", "cpu", "--json", *more)
        stdout, stderr = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0, stderr[-3000:]
        return json.loads(stdout.splitlines()[-1]), stderr

    result, log = finish(roots[0], "--workers", "2")
    assert "one retraining took" in log
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert result["report"].endswith("/report.md")
    finish(roots[1])
    outcomes, patched = [
        [
            {name: part["sha256"] for name, part in store.manifest(artifact).parts.items()}
            for store in map(ArtifactStore, map(str, roots))
            for artifact in store.artifacts()
            if artifact.stage == stage
        ]
        for stage in ("retrain", "tail_patch")
    ]
    assert [len(parts) for parts in (outcomes[0], patched[0])] == [16, len(METHODS)]
    assert outcomes[0] == outcomes[1]
    assert patched[0] == patched[1]
