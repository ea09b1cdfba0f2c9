"""The section on mixtures says of every arm what left, came, was cut or counts otherwise, and how much."""

from dataclasses import replace

import polars as pl
import pytest

from infra_core.corpus.schema import AGREEMENT, DIRECTIONS, MIXTURE
from infra_core.report.figures import Figures
from infra_core.report.mixtures import mixtures
from infra_core.report.rows import difficulty
from tests.infra_core.report.test_build import inputs


@pytest.fixture(scope="module")
def run():
    return inputs()


def shown(run, **changes):
    figures = Figures()
    text = "\n".join(mixtures(replace(run, **changes), figures))
    return text, {figure["id"]: figure["value"] for figure in figures.as_json()}


def arm(run, **columns):
    """The untouched corpus with some columns changed, as the mixture of the arm `flip`."""
    changed = run.mixtures["keep_all"].with_columns(**columns).cast(pl.Schema(MIXTURE))
    return {"mixtures": {**run.mixtures, "flip": changed}, "left": {"keep_all": run.left["keep_all"]}}


def test_a_swap_is_counted_on_both_sides_with_the_length_of_its_rows(run):
    """What the screen refused left every arm, and is no change of this one."""
    text, values = shown(run)
    gone = run.left["flip"].join(run.left["keep_all"], on="example_id", how="anti").filter(domain="math")
    came = run.mixtures["flip"].filter(domain="math", origin="swapped_in")
    assert values["rows left/arm=flip/domain=math"] == gone.height
    assert values["rows swapped in/arm=flip/domain=math"] == came.height
    assert values["tokens a row left/arm=flip/domain=math"] == round(gone["tokens"].mean())
    assert (
        f"- `flip`, math easy→hard: {gone.height} rows left (33 tokens each), {came.height} came in" in text
    )


def test_edited_rows_are_counted_with_the_tokens_that_the_loss_lost(run):
    """Five rows whose scored tokens are fewer by four."""
    first = pl.int_range(pl.len()) < 5
    edit = arm(
        run,
        origin=pl.when(first).then(pl.lit("edited")).otherwise("origin"),
        reason=pl.when(first).then(pl.lit("code harmful spans masked")).otherwise("reason"),
        domain=pl.when(first).then(pl.lit("code")).otherwise("domain"),
        scored_tokens=pl.col("scored_tokens") - pl.when(first).then(4).otherwise(0),
    )
    text, _ = shown(run, **edit)
    assert "- `flip`, code harmful spans masked: 5 rows lost 20 scored tokens." in text


def test_weights_are_shown_by_their_range(run):
    weigh = arm(
        run,
        weight=pl.when(pl.col("domain") == "math").then(pl.int_range(pl.len()) / 100 + 0.5),
        reason=pl
        .when(pl.col("domain") == "math")
        .then(pl.lit("math weighed by influence"))
        .otherwise("reason"),
    )
    text, _ = shown(run, **weigh)
    assert "- `flip`, math weighed by influence: 45 rows count 0.50 to 1.38 times." in text


def test_a_measured_direction_is_shown_with_its_interval_and_one_that_is_not_clear_as_such(run):
    rows = [
        ("math", "easy", "hard", 0.5, 0.25, 0.75, "token", 40),
        ("code", None, None, 0.1, -0.1, 0.3, "token", 30),
        ("science", None, None, None, None, None, "token", None),
    ]
    measured = pl.DataFrame(rows, schema=pl.Schema(DIRECTIONS), orient="row")
    text, values = shown(run, directions={"flip": measured})
    assert "- `flip`, `math`: hard rows help more than easy ones, by +0.5 [+0.25, +0.75] a token" in text
    assert "- `flip`, `code`: bands do not differ clearly (+0.1 [−0.1, +0.3] a token" in text
    assert "- `flip`, `science`: fewer than two bands help or harm clearly, so nothing moves." in text
    assert values["measured gain/arm=flip/domain=math"] == 0.5


def test_agreement_of_label_and_pass_rate_is_said_where_both_are_known(run):
    rows = [("math", 0.6, 0.4, 0.75, 80, 40), ("code", None, None, None, 5, 5)]
    agreement = pl.DataFrame(rows, schema=pl.Schema(AGREEMENT), orient="row")
    text = "\n".join(difficulty(replace(run, agreement=agreement), Figures()))
    assert "`math` that have both order them alike with a rank correlation of 0.60 [0.40, 0.75]" in text
    assert "of 5 problems of `code` that have both cannot be compared" in text
    assert "its source's label" in text
