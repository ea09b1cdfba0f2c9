"""A plan follows from recipe, shape and device; what the flow takes from it does not hang on the day."""

from dataclasses import replace

import pytest

from flows.__main__ import RECIPES
from infra_core.lm.published import config_of
from infra_core.planning.cost import BATCHES, plan
from infra_core.planning.stages import Volume
from infra_core.planning.work import Machine
from infra_core.recipe import (
    Flip,
    Identity,
    IndexParams,
    LoraParams,
    Perplexity,
    RateParams,
    Rds,
    Recipe,
    RobustnessParams,
    Select,
)

VOLUME = Volume(rows=1000, tokens=500_000, base_tokens=100_000, questions=50)
MACHINE = Machine(int(24e9), 1, flops=1e11, number_seconds=1e-9, call_seconds=1e-5, basis="made up")


def planned(recipe, machine=MACHINE, volume=VOLUME, **changes):
    given = Recipe.load(RECIPES / f"{recipe}.yaml").model_copy(update=changes)
    return plan(given, config_of(given.base.model), volume, machine)


@pytest.mark.parametrize("recipe", ["tiny", "qwen7b"])
def test_positions_of_one_pass_do_not_hang_on_speed(recipe):
    slow = replace(MACHINE, flops=1e9, number_seconds=1e-7, call_seconds=1e-2)
    assert planned(recipe, slow).batch == planned(recipe).batch


def test_less_memory_never_means_more_positions_in_one_pass():
    sizes = [planned("qwen7b", replace(MACHINE, memory_bytes=int(gb * 1e9), devices=8)).batch
             for gb in (16, 40, 80, 160)]  # fmt: skip
    assert sizes == sorted(sizes)
    assert set(sizes) <= set(BATCHES)
    assert len(set(sizes)) > 1


def test_what_fits_says_so_of_every_stage():
    """An H100 pair of figures: the whole model on one device, and eight sharing what training holds."""
    eight = replace(MACHINE, memory_bytes=int(80e9), devices=8)
    assert planned("qwen7b", eight).fits
    assert not planned("qwen7b", replace(eight, devices=1)).fits


def test_a_narrow_model_pays_for_starting_operations_and_a_wide_one_for_products():
    products = replace(MACHINE, flops=MACHINE.flops / 10)
    starts = replace(MACHINE, call_seconds=MACHINE.call_seconds * 10)

    def slower(recipe, machine):
        return planned(recipe, machine).stages[0].seconds / planned(recipe).stages[0].seconds

    assert slower("tiny", starts) > 3
    assert slower("qwen7b", starts) < 1.1
    assert slower("qwen7b", products) > 8


def test_twice_the_rows_take_twice_the_time():
    """But for what each artifact takes anyway."""
    much = Volume(rows=100_000, tokens=50_000_000, base_tokens=0, questions=50)
    twice = replace(much, rows=2 * much.rows, tokens=2 * much.tokens)
    once, again = planned("smollm2", volume=much), planned("smollm2", volume=twice)
    assert again.stages[0].seconds == pytest.approx(2 * once.stages[0].seconds, rel=0.01)


def test_activations_are_computed_again_where_the_longest_row_would_not_fit_without():
    eight = replace(MACHINE, memory_bytes=int(80e9), devices=8)
    assert planned("qwen7b", eight).recompute
    assert not planned("qwen7b", replace(eight, memory_bytes=int(160e9))).recompute
    assert not planned("smollm2").recompute
    slower = planned("qwen7b", eight).stages[0].seconds
    assert slower > 1.2 * planned("qwen7b", replace(eight, memory_bytes=int(160e9))).stages[0].seconds


@pytest.mark.slow
def test_adapters_need_neither_gradients_nor_moments_of_the_weights_beside_them():
    """And their factors are of their own narrow shapes."""
    given = Recipe.load(RECIPES / "smollm2.yaml")
    train = given.train.model_copy(update={"lora": LoraParams(rank=8, alpha=16, modules="mlp")})
    beside = planned("smollm2", train=train)
    assert beside.stages[0].peak_bytes < planned("smollm2").stages[0].peak_bytes
    factors = given.factors.model_copy(update={"modules": "lora"})
    of_adapters = planned("smollm2", train=train, factors=factors).factors
    assert of_adapters.eigenvalues == 30 * 4 * 3 * 8 * (576 + 1536)  # layers, fp32, A and B of three modules


def test_what_mixture_rules_decide_by_is_paid_for_where_it_is_asked_for():
    """Embeddings, a second influence, a scored reserve: none without an arm that asks."""
    volume = replace(VOLUME, reserve_rows=2000, reserve_tokens=1_000_000)
    flip = Flip(kind="flip", match="tokens")
    select = Select(kind="select", match="tokens", pool="both")

    def seconds(**arms):
        return {stage.stage: stage.seconds for stage in planned("tiny", volume=volume, mixtures=arms).stages}

    plain = seconds(flip=flip)
    assert not {"attempt", "nearness"} & set(plain)
    rivals = seconds(flip=flip, mid=Perplexity(kind="perplexity", keep="mid"), rds=Rds(kind="rds"))
    assert "nearness" in rivals
    assert plain["perplexity"] < rivals["perplexity"]  # of the corpus, for the report; and of the reserve
    assert seconds(select=select)["score"] > 2 * plain["score"]
    assert seconds(select=select, identity=Identity(kind="identity"))["score"] > 5 * plain["score"]
    twice = planned("tiny", volume=volume, mixtures={"flip": flip}, robustness=RobustnessParams(train_seed=1))
    again = {stage.stage: stage.seconds for stage in twice.stages}
    assert all(again[stage] > 1.5 * plain[stage] for stage in ("fit_eigenbasis", "fit_factors", "score"))
    train = Recipe.load(RECIPES / "tiny.yaml").train.model_copy(update={"scored_after": (0.5, 1.0)})
    way = {
        stage.stage: stage.seconds
        for stage in planned("tiny", volume=volume, train=train, mixtures={"flip": flip}).stages
    }
    assert way["train"] == plain["train"]
    assert all(way[stage] > 1.5 * plain[stage] for stage in ("fit_eigenbasis", "fit_factors", "score"))
    tried = planned("tiny", volume=volume, difficulty=RateParams(method="pass_rate")).stages
    assert "attempt" in {stage.stage for stage in tried}


@pytest.mark.slow
def test_comparing_token_rules_is_planned_as_a_second_scoring():
    """Of the corpus, under the rule that the recipe does not name."""
    seconds = {
        (rule, both): next(
            stage.seconds
            for stage in planned(
                "smollm2",
                scores=Recipe.load(RECIPES / "smollm2.yaml").scores.model_copy(update={"token_rule": rule}),
                compare_rules=both,
            ).stages
            if stage.stage == "score"
        )
        for rule in ("position", "loss_term")
        for both in (None, True)
    }
    alone = seconds["position", None], seconds["loss_term", None]
    for rule in ("position", "loss_term"):
        assert seconds[rule, None] < seconds[rule, True] <= 1.01 * sum(alone)


def test_an_index_is_planned_where_a_recipe_has_one_with_the_bytes_that_its_rows_take():
    """Three layers of three modules, each wider than what is kept of it."""
    bare, kept = planned("tiny"), planned("tiny", index=IndexParams(coordinates=1024))
    assert bare.row_bytes == 0
    assert kept.row_bytes == 3 * 3 * (1024 + 4)
    assert [stage for stage in kept.stages if stage.stage != "index"] == list(bare.stages)
    [stage] = [stage for stage in kept.stages if stage.stage == "index"]
    assert stage.traffic.written == VOLUME.rows * kept.row_bytes
    assert stage.held.eigenbases == bare.factors.basis
    assert kept.as_json()["index_row_bytes"] == kept.row_bytes
