"""Plans need no weights and no data, and their arithmetic can be checked by hand."""

from dataclasses import replace
from functools import cache

import pytest

from flows.__main__ import RECIPES
from flows.plan import plan_line, plan_recipe, planned_sizes
from infra_core.planning.machine import memory_here
from infra_core.recipe import Recipe
from tasks._stage import RunContext


@cache
def tiny():
    return plan_recipe(Recipe.load(RECIPES / "tiny.yaml"))


def test_qwen7b_weighs_what_its_shape_says():
    """28 layers; gate and up share one A of 3584², down has one of 18944²; G of 18944² twice and 3584²."""
    planned = plan_recipe(Recipe.load(RECIPES / "qwen7b.yaml"), "80GB", 8)
    a_side, g_side = 3584**2 + 18944**2, 2 * 18944**2 + 3584**2
    assert planned.factors.covariance == pytest.approx(28 * 4 * (a_side + g_side), rel=0.02)
    assert planned.factors.eigenvalues == pytest.approx(28 * 4 * 3 * 3584 * 18944, rel=0.02)
    assert planned.fits


def test_a_device_that_is_too_small_is_told():
    planned = plan_recipe(Recipe.load(RECIPES / "qwen7b.yaml"), "8GB", 1)
    assert not planned.fits
    assert "NOT fit" in plan_line(planned)
    assert "take 8 × 80 GB or 2 × 141 GB" in plan_line(planned)


def test_a_plan_of_made_rows_counts_them():
    planned = tiny()
    assert planned.volume.rows == 600
    assert planned.volume.assumed == ()
    assert "600 rows" in plan_line(planned)


def test_files_that_are_still_to_come_are_assumed_and_said_to_be():
    planned = plan_recipe(Recipe.load(RECIPES / "llama3_8b_prune.yaml"), "80GB", 8)
    assert planned.volume.rows == 817
    assert "limo: 817 rows of 4096 tokens" in planned.volume.assumed
    assert planned.fits


def test_every_stage_has_bytes_passes_and_seconds():
    planned = tiny().as_json()
    assert {"stages", "factor_bytes", "fits"} <= set(planned)
    for stage in planned["stages"]:
        assert {"stage", "peak_bytes", "partitions", "passes", "seconds"} <= set(stage)
        assert stage["peak_bytes"] == sum(stage["held"].values()) > 0


def test_a_run_is_told_how_much_factors_may_take(tmp_path):
    given = Recipe.load(RECIPES / "tiny.yaml")
    ctx = RunContext.here(str(tmp_path), "cpu")
    told = planned_sizes(given, ctx)
    assert 0 < told["factor_bytes"] < memory_here()
    two = planned_sizes(given, replace(ctx, workers=2))  # who share the memory of this machine
    assert two["factor_bytes"] < told["factor_bytes"] / 2
    assert two["micro_batch_tokens"] == told["micro_batch_tokens"]


def test_a_plan_of_a_validation_counts_queries_and_retrainings_in_place_of_arms_and_exam():
    planned = plan_recipe(Recipe.load(RECIPES / "tiny.yaml"), "80GB", to_validate=True)
    assert planned.volume.queries == 180
    stages = {stage.stage: stage for stage in planned.stages}
    assert {"retrain", "rivals"} <= set(stages)
    assert "evaluate" not in stages
    assert stages["retrain"].seconds > 50 * stages["score"].seconds
