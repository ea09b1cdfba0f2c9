"""What a report tells beside the exam: on a whole run, with all that a recipe can ask for."""

import json

import polars as pl
import pytest

from flows.attribute import attribute
from flows.curate import examine, retrain
from flows.findings import findings
from infra_core.corpus.schema import CORPUS, GRADIENT_NORMS, SCORES, TOKENED
from infra_core.recipe import Recipe
from infra_core.store.tables import read_tables
from tasks.evaluate import ExamRun
from tasks.report import ReportRun, report
from tests.flows.shrunk import shrunk_tiny

ASKED = {
    "compare_rules": True,
    "robustness": {"modules": "all", "train_seed": 1, "gradients": ["per_token", "unit_norm"]},
}
VARIATIONS = {"own", "modules all", "training seed 1", "per token", "unit norm"}


def test_every_token_of_a_response_is_of_one_word(finished):
    """As many as scores have behind the prompt, but for the one that ends the text."""
    given = Recipe.load(finished.recipe)
    store, found = finished.ctx.store, attribute(given, finished.ctx)
    words = read_tables(store, findings(given, finished.ctx, found)["token_classes"], TOKENED)
    rows = read_tables(store, found.data.corpus, CORPUS)
    letters = dict(rows.select("example_id", pl.col("response").str.len_bytes()).iter_rows())
    for name, tokens in words.group_by("example_id").agg(pl.col("tokens").sum()).iter_rows():
        assert tokens == letters[name]  # a token of the tiny model is a byte
    assert {"keyword", "operator", "identifier", "syntax", "other"} <= set(words["token_class"])


@pytest.mark.slow
def test_a_report_shows_all_that_a_recipe_asks_for(finished, tmp_path):
    """Both token rules, their agreement, and every variation; the recipe's own numbers stay as they were."""
    given, ctx = Recipe.load(shrunk_tiny(tmp_path, **ASKED)), finished.ctx
    found = attribute(given, ctx)
    told = findings(given, ctx, found)
    assert set(told["varied"]) == {"modules", "train_seed", "gradient_norms"}
    norms = read_tables(ctx.store, told["varied"]["gradient_norms"], GRADIENT_NORMS)
    scores = read_tables(ctx.store, found.scores, SCORES)
    assert set(norms["example_id"]) == set(scores["example_id"])
    assert norms["gradient_norm"].min() > 0
    arms = retrain(given, ctx, found, {"keep_all": found.keep_all})
    exams = examine(ExamRun.of(given), ctx, found, arms)
    made = report(
        ctx, found=told, mixtures={"keep_all": found.keep_all}, evaluations=exams, params=ReportRun.of(given)
    )
    figures = json.loads(ctx.store.read(made, "numbers.json"))["figures"]
    varied = [figure for figure in figures if figure["metric"] == "influence varied"]
    assert {figure["variation"] for figure in varied} == VARIATIONS
    assert {"band", "behaviour", "token_class"} <= {key for figure in varied for key in figure}
    tokens = [figure for figure in figures if figure["metric"] == "token influence"]
    assert {figure.get("rule") for figure in tokens} == {None, "loss_term"}
    agreed = [figure["value"] for figure in figures if figure["metric"] == "agreement of token rules"]
    assert agreed
    assert all(-1 <= value < 1 for value in agreed)
    before = json.loads(ctx.store.read(finished.report, "numbers.json"))["figures"]
    own = {figure["id"]: figure for figure in figures}
    for figure in before:
        if figure["metric"] in {"influence", "step influence", "token influence", "word influence"}:
            assert own[figure["id"]] == figure
