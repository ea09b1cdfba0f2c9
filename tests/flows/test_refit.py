"""A corpus that has grown a little is scored by the model of before; one that has moved away is not."""

import json

import pytest

from flows.attribute import attribute, learn
from flows.curate import run_stages
from flows.evidence import mix_arm
from infra_core.errors import RequestError
from infra_core.recipe import Recipe, RefitParams, Source
from infra_core.recipe.rehearsal import rehearsal
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from tasks.drift import earlier_corpus


def grown(finished, rows, **limits):
    """The finished recipe with some rows more, and its report as what it keeps to."""
    given = Recipe.load(finished.recipe)
    more = Source(
        name="sums_more",
        domain="math",
        uri=f"made://tiny_math?rows={rows}&levels=2-4&split=train&seed=7",
        license="apache-2.0",
        mapping=given.corpus.sources[0].mapping,
    )
    corpus = given.corpus.model_copy(update={"sources": (*given.corpus.sources, *([more] if rows else []))})
    refit = RefitParams(since=finished.report.uri, **limits)
    return given.model_copy(update={"corpus": corpus, "refit": refit})


@pytest.fixture(scope="module")
def before(finished):
    return attribute(Recipe.load(finished.recipe), finished.ctx)


def test_the_same_rows_have_the_same_scores(finished, before):
    """One artifact, so to the byte; nothing is measured."""
    assert attribute(grown(finished, 0), finished.ctx) == before


def test_one_row_in_a_hundred_more_is_all_that_is_scored(finished, before):
    ctx, given = finished.ctx, grown(finished, 1)
    now = attribute(given, ctx)
    assert (now.checkpoint, now.factors, now.queries) == (before.checkpoint, before.factors, before.queries)
    assert (now.taught, now.drift is None) == (before.keep_all, False)
    assert now.keep_all != before.keep_all
    parts, old = ctx.store.manifest(now.scores).parts, ctx.store.manifest(before.scores).parts
    new = {name for name, part in parts.items() if "at" not in part}
    assert {name.split("-")[0] for name in new} == {"sums_more"}
    assert {name: part["sha256"] for name, part in parts.items() if name not in new} == {
        name: part["sha256"] for name, part in old.items()
    }
    told = json.loads(ctx.store.read(now.drift, "drift.json"))
    assert (told["before"], told["now"], told["new"], told["gone"]) == (96, 97, 1, 0)
    assert told["ratio"] > 0
    assert mix_arm(given, ctx, now.data, {}, "flip") != mix_arm(given, ctx, before.data, {}, "flip")


def test_past_the_limit_all_is_made_anew_and_why_is_said(finished, before, caplog):
    with caplog.at_level("WARNING", logger="tasks.drift"):
        now = learn(grown(finished, 10), finished.ctx)
    assert now.taught == now.keep_all
    assert now.checkpoint != before.checkpoint
    assert now.factors != before.factors
    assert "10 of 106 rows are new and 0 are gone: 10.4 % (at most 5.0 %)" in caplog.text
    assert "refit.since" in caplog.text


def test_what_is_no_report_cannot_be_kept_to(finished, before):
    given = grown(finished, 1)
    wrong = [
        (before.scores.uri, "which is no report; give that of an earlier run"),
        ("report/0123456789abcdef", "not all is in this store.*name another, or remove refit"),
    ]
    for since, told in wrong:
        with pytest.raises(RequestError, match=told):
            earlier_corpus(finished.ctx, RefitParams(since=since))
    assert rehearsal(given).refit is None


@pytest.mark.slow
def test_the_report_says_that_scores_are_by_an_earlier_model_and_every_arm_learns_all_rows(finished, before):
    ctx = finished.ctx
    report = run_stages(grown(finished, 1), ctx)
    text = ctx.store.read(report, "report.md").decode()
    assert "by the model and the factors of an earlier run: 1 rows came since, 0 went" in text
    trained = {
        ctx.store.manifest(each).inputs["corpus"]
        for _, each in ancestors(ctx.store, report)
        if isinstance(each, Artifact) and each.stage == "train"
    }
    assert learn(grown(finished, 1), ctx).keep_all.key in trained
