"""Questions that come later: asked of an index, which is built once and is no part of what a run comes to."""

import polars as pl
import pytest

from flows.answers import Answers
from flows.ask import answered
from flows.terminal import print_result
from infra_core.errors import RequestError
from infra_core.recipe import IndexParams, QuestionParams, Recipe, Source
from infra_core.recipe.rehearsal import rehearsal
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_table
from tasks.ask import LEADING, LED

KEPT = IndexParams(coordinates=64)


def asking(finished, **changes):
    given = Recipe.load(finished.recipe)
    return given.model_copy(update={"index": KEPT, "ask": QuestionParams(**changes)})


def test_rows_of_ones_own_are_asked_about_without_the_queries_of_the_run(finished):
    ctx, given = finished.ctx, Recipe.load(finished.recipe)
    mine = Source(
        name="mine",
        domain="math",
        uri="made://tiny_math?rows=3&levels=2-3&split=query&seed=5",
        license="apache-2.0",
        mapping=given.corpus.sources[0].mapping,
    )
    asked = {"sources": (mine,), "best": 2, "sample": 8}
    first = answered(asking(finished, **asked), ctx)
    again = answered(asking(finished, **asked, damping=1.0), ctx)
    manifests = [ctx.store.manifest(each).inputs for each in (first, again)]
    assert first != again
    assert manifests[0] == manifests[1]
    assert "queries" not in manifests[0]
    led = read_table(ctx.store, first, LEADING, LED)
    assert led["group"].unique().to_list() == ["mine"]
    assert led["side"].value_counts(sort=True)["count"].to_list() == [2, 2]


def test_what_is_asked_later_moves_no_key_of_what_a_run_makes(finished):
    given = Recipe.load(finished.recipe)
    assert asking(finished, damping=0.5).placeless() == given.placeless()
    assert rehearsal(asking(finished)).index == KEPT


def test_a_recipe_without_an_index_is_told_what_to_add(finished):
    with pytest.raises(RequestError, match=r"no section index.*`index: \{coordinates: 1024\}`"):
        answered(Recipe.load(finished.recipe), finished.ctx)


def test_spans_are_indexed_only_where_responses_have_some(finished):
    text = finished.recipe.read_text().replace("spans: lines", "spans: null") + "index: {level: span}\n"
    place = finished.recipe.with_name("spanless.yaml")
    place.write_text(text)
    with pytest.raises(RequestError, match=r"index.level is span.*give scores.spans"):
        Recipe.load(place)


def test_answers_are_shown_with_what_the_index_had_and_how_well_it_finds(capsys):
    row = ("math", "helpful", "0123456789abcdef", 0.25, 0.2, 0.125)
    told = {
        "rows": 1234,
        "best": 2,
        "overlap": [{"group": "math", "side": "helpful", "overlap": 0.5, "m": 2}],
        "agreement": [{"group": "math", "spearman": 0.875, "pearson": 0.9, "n": 8}],
    }
    led = pl.DataFrame([row], schema=LED, orient="row")
    answers = Answers(Artifact("ask", "0" * 16, "file:///store/ask/0"), led, told)
    print_result(answers)
    shown = capsys.readouterr().out
    for text in ("0123456789abcdef", "+0.25", "+0.2 ± 0.12", "50%", "Spearman 0.875, n 8", "1,234 rows"):
        assert text in shown
    assert answers.as_json()["overlap"] == told["overlap"]
