"""Weaknesses of a run are said where they can be read off it, and only there."""

from dataclasses import replace

import polars as pl

from infra_core.influence.drift import Drift
from infra_core.report.cautions import cautions
from infra_core.report.figures import Figures
from tests.infra_core.report.test_build import inputs


def said(given, comparisons=()):
    """All warnings as one text."""
    return "\n".join(cautions(given, list(comparisons), Figures()))


def compared(verdict):
    """The comparison of a mixture with its control."""
    place = {"arm": "flip", "against": "random", "task": "sums", "metric": "accuracy"}
    return [place | {"verdict": verdict}]


def test_a_run_without_weaknesses_says_that_none_was_seen():
    plain = replace(inputs(), other_tokens=inputs().tokens.clear(), variations=inputs().variations.clear())
    assert said(plain, compared("better")) == "- None of the signs that are looked for was seen.\n"


def test_a_control_that_beats_its_mixture_is_named():
    assert "`random` beats `flip` on `sums`" in said(inputs(), compared("worse"))
    assert "beats" not in said(inputs(), compared("cannot tell"))


def test_one_training_seed_and_gradients_that_feel_their_batch_are_said():
    assert "One training seed" in said(inputs(seeds=1))
    assert "`moves by 1e-2`" in said(replace(inputs(), batch_dependence="moves by 1e-2"))


def test_a_cell_whose_sign_hangs_on_how_length_is_counted_is_counted():
    """An example helps clearly while its tokens harm clearly; an interval that holds zero says nothing."""
    given = inputs()
    turned = given.cells.with_row_index("row").with_columns(
        low=pl.when(pl.col("row") < 2).then(pl.lit(0.1)).otherwise(pl.lit(-0.1)),
        high=pl.lit(0.2),
        low_per_token=pl.lit(-0.2),
        high_per_token=pl.when(pl.col("row") == 0).then(pl.lit(-0.1)).otherwise(pl.lit(0.1)),
        low_equal_length=pl.lit(None, dtype=pl.Float64()),
        high_equal_length=pl.lit(None, dtype=pl.Float64()),
    )
    text = said(replace(given, cells=turned.drop("row")))
    assert "Influence of 1 cells changes sign" in text


def test_a_mixture_that_has_no_control_is_said():
    """Nothing of its size stands beside it."""
    given = inputs()
    alone = given.recipe.model_copy(update={"mixtures": {"flip": given.recipe.mixtures["flip"]}})
    answers = {arm: runs for arm, runs in given.answers.items() if arm != "random"}
    mixtures = {arm: rows for arm, rows in given.mixtures.items() if arm != "random"}
    assert "`flip` has no control" in said(replace(given, recipe=alone, answers=answers, mixtures=mixtures))


def test_scores_by_an_earlier_model_are_said_with_what_changed_since():
    told = said(replace(inputs(), drift=Drift(before=200, now=203, new=3, gone=0, ratio=2.0)))
    assert "an earlier run: 3 rows came since, 0 went, which moves the curvature by 1.5 %" in told


def test_an_arm_of_the_rows_of_another_is_no_experiment_and_said_so():
    given = inputs()
    told = said(replace(given, first_alike={"keep_all": "keep_all", "flip": "keep_all"}))
    assert "`flip` teaches the rows of `keep_all` and no others" in told
    assert "teaches the rows" not in said(given)
