"""What putting scores to the test will cost: retrainings by number and size, methods by what they do."""

from dataclasses import replace

import pytest

from flows.__main__ import RECIPES
from infra_core.errors import RequestError
from infra_core.lm.published import config_of
from infra_core.planning.cost import plan
from infra_core.recipe import Recipe, ValidityParams, Variant
from tests.infra_core.planning.test_cost import MACHINE, VOLUME

ASKED = ValidityParams(subsets={"random": 8}, methods=("bm25",))
QUERIED = replace(VOLUME, queries=100)


def seconds(recipe="tiny", volume=QUERIED, **changes):
    given = Recipe.load(RECIPES / f"{recipe}.yaml").model_copy(
        update={"validity": ASKED.model_copy(update=changes)}
    )
    planned = plan(given, config_of(given.base.model), volume, MACHINE, to_validate=True)
    return {stage.stage: stage.seconds for stage in planned.stages}


def test_each_subset_is_trained_once_a_seed_and_nothing_is_examined():
    few, many, thrice = seconds(), seconds(subsets={"random": 16}), seconds(seeds=6)
    assert "evaluate" not in few
    assert many["retrain"] == pytest.approx(2 * few["retrain"], rel=1e-3)
    assert thrice["retrain"] == pytest.approx(3 * few["retrain"], rel=1e-3)
    assert few["train"] == many["train"]


def test_what_is_left_out_is_not_trained_on():
    """Three models a seed without half of the rows are as much work as three more halves."""
    halves, curve = seconds(subsets={"random": 11}), seconds(left_out=(0.5,))
    assert curve["retrain"] == pytest.approx(halves["retrain"], rel=1e-3)


def test_a_label_is_taken_away_by_two_models_a_seed_that_are_trained_on_all_rows():
    """More work than as many halves, and less than twice that, since queries are asked as often."""
    none, one, two = (
        seconds(ablated=labels)["retrain"] for labels in (None, ("syntax",), ("plan", "syntax"))
    )
    four_halves = seconds(subsets={"random": 10})["retrain"] - none
    assert four_halves < one - none < 2 * four_halves
    assert two - one == pytest.approx(one - none, rel=1e-2)
    more = seconds(ablated=("syntax",), ablation_seeds=4)["retrain"]
    assert more - none == pytest.approx(2 * (one - none), rel=1e-2)


def test_methods_cost_what_they_look_at():
    """Words cost nothing, one pass something, the way of training more; refined queries the most."""
    cost = [
        seconds(methods=(name,)).get("rivals", 0.0)
        for name in ("bm25", "loss_top", "identity", "ekfac_mlp", "less", "ekfac_refined")
    ]
    assert cost == sorted(cost)
    assert len(set(cost)) == len(cost)


def test_variants_of_other_models_train_them():
    alone = seconds(methods=("ekfac_mlp",))["rivals"]
    ensemble = seconds(variants={"three": Variant(seeds=(0, 1, 2))})["rivals"]
    on_the_way = seconds(variants={"half": Variant(after=(0.5, 1.0))})["rivals"]
    assert ensemble > 3 * alone
    assert on_the_way > 2 * alone


def test_planted_rows_are_trained_on_and_scored_as_well():
    without, planted = seconds(methods=("identity",)), seconds(methods=("identity",), planted=0.1)
    assert planted["rivals"] == pytest.approx(2 * without["rivals"], rel=1e-3)
    assert planted["train"] > without["train"]
    assert planted["score"] > without["score"]


def test_queries_whose_directions_do_not_fit_take_further_passes_over_the_rows():
    narrow = seconds("tiny", replace(QUERIED, queries=1000), methods=("identity",))["rivals"]
    wide = seconds("smollm2", replace(QUERIED, queries=1000), methods=("identity",))["rivals"]
    assert narrow < 3 * seconds("tiny", QUERIED, methods=("identity",))["rivals"]
    assert wide > 5 * seconds("smollm2", QUERIED, methods=("identity",))["rivals"]


def test_a_recipe_that_says_nothing_of_validity_has_no_such_plan():
    given = Recipe.load(RECIPES / "tiny_flip.yaml")
    with pytest.raises(RequestError, match="has no section validity"):
        plan(given, config_of(given.base.model), VOLUME, MACHINE, to_validate=True)
