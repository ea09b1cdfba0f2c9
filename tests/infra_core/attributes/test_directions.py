"""A direction is read from influence only where it is clear."""

import numpy as np
import polars as pl
import pytest

from infra_core.attributes.directions import measured_directions
from infra_core.corpus.schema import DIRECTIONS
from tests.infra_core.attributes.test_cells import ratings

BANDS = ("easy", "medium", "hard")


def found(means, *, count=60, spread=1.0, match="rows", tokens=None, problems=None):
    """Directions of one domain whose bands have these means; rows scatter by `spread` around them."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(len(means), count)) * spread
    values = (noise - noise.mean(axis=1, keepdims=True) + np.array(means)[:, None]).ravel()
    rated = ratings([band for band in BANDS[: len(means)] for _ in range(count)], tokens=tokens)
    benefit = pl.DataFrame({"example_id": rated["example_id"], "benefit": values})
    return measured_directions(benefit, rated, problems, match=match, seed=0).row(0, named=True)


def test_the_band_that_helps_least_leaves_for_the_one_that_helps_most():
    row = found([-1.0, 0.0, 2.0])
    assert (row["domain"], row["out_of"], row["into"], row["unit"]) == ("math", "easy", "hard", "row")
    assert row["gain"] == pytest.approx(3.0)
    assert row["low"] < 3.0 < row["high"]


def test_a_band_whose_interval_holds_zero_moves_nothing():
    """Hard rows may help, or not: with one clear band there is no direction."""
    assert found([-1.0, 0.0, 0.05])["out_of"] is None


def test_two_clear_bands_that_do_not_differ_clearly_move_nothing():
    """Both help for sure, and which of the two more nobody can say."""
    row = found([1.0, 1.1])
    assert (row["out_of"], row["into"]) == (None, None)
    assert row["low"] < 0 < row["high"]


def test_responses_to_one_problem_do_not_make_a_direction_clear():
    """The same values: sixty problems a band are clear, two are not even when each has thirty responses."""
    few = pl.DataFrame({
        "example_id": [f"e{i}" for i in range(120)],
        "group": [str(i // 30) for i in range(120)],
    })
    assert found([0.5, 1.5])["into"] == "medium"
    noisy = np.repeat([-1.5, 2.5, -0.5, 3.5], 30)
    rated = ratings(["easy"] * 60 + ["medium"] * 60)
    benefit = pl.DataFrame({"example_id": rated["example_id"], "benefit": noisy})
    clustered = measured_directions(benefit, rated, few, match="rows", seed=0).row(0, named=True)
    assert clustered["out_of"] is None
    assert measured_directions(benefit, rated, match="rows", seed=0)["out_of"].to_list() == ["easy"]


def test_tokens_turn_a_direction_that_was_length_alone():
    """Hard rows help twice as much and are four times as long: a token of an easy one helps more."""
    tokens = [10] * 60 + [10] * 60 + [40] * 60
    assert found([1.0, 1.2, 2.0], spread=0.2, tokens=tokens)["into"] == "hard"
    row = found([1.0, 1.2, 2.0], spread=0.2, tokens=tokens, match="tokens")
    assert (row["out_of"], row["into"], row["unit"]) == ("hard", "medium", "token")


def test_no_rows_have_no_directions():
    assert measured_directions(
        pl.DataFrame(schema={"example_id": pl.String, "benefit": pl.Float64}),
        ratings([]),
        match="rows",
        seed=0,
    ).schema == pl.Schema(DIRECTIONS)
