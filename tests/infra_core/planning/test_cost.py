"""A plan follows from recipe, shape and device; what the flow takes from it does not hang on the day."""

from dataclasses import replace

import pytest

from flows.__main__ import RECIPES
from infra_core.lm.published import config_of
from infra_core.planning.cost import BATCHES, Volume, plan
from infra_core.planning.work import Machine
from infra_core.recipe import Recipe

VOLUME = Volume(rows=1000, tokens=500_000, base_tokens=100_000, questions=50)
MACHINE = Machine(int(24e9), 1, flops=1e11, number_seconds=1e-9, call_seconds=1e-5, basis="made up")


def planned(recipe, machine=MACHINE, volume=VOLUME):
    given = Recipe.load(RECIPES / f"{recipe}.yaml")
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
