"""How alike methods order rows, by group of queries."""

import numpy as np
import polars as pl
import pytest

from infra_core.validity.agreement import agreements
from infra_core.validity.judging import SCORE_TABLE

GROUPS = ("math/correct", "math/correct", "code/correct")


def table(scores, order=None):
    rows = pl.DataFrame(
        {"example_id": [f"row-{n:03d}" for n in range(len(scores))], "scores": scores.tolist()},
        schema=pl.Schema(SCORE_TABLE),
    )
    return rows if order is None else rows[order]


@pytest.fixture(scope="module")
def worth():
    return np.random.default_rng(0).normal(size=(400, 3))


def test_a_method_agrees_with_itself_whatever_the_unit_and_the_order_of_rows(worth):
    found = agreements({"one": table(worth), "other": table(7 * worth, list(range(399, -1, -1)))}, GROUPS, 0)
    assert [(each.method, each.against, each.group) for each in found] == [
        ("other", "one", "math/correct"),
        ("other", "one", "code/correct"),
    ]
    for each in found:
        assert each.rank.value == pytest.approx(1)
        assert each.in_common == 1


def test_what_is_turned_round_has_nothing_in_common_and_what_is_noise_hardly_more_than_chance(worth):
    noise = np.random.default_rng(1).normal(size=worth.shape)
    tables = {"own": table(worth), "turned": table(-worth), "noise": table(noise)}
    by_method = {each.method: each for each in agreements(tables, GROUPS, 0) if each.group == "math/correct"}
    assert by_method["turned"].rank.value == pytest.approx(-1)
    assert by_method["turned"].in_common == 0
    assert abs(by_method["noise"].rank.value) < 0.15  # three standard errors of 400 rows
    assert by_method["noise"].in_common < 0.25


def test_groups_are_compared_by_the_mean_of_their_queries(worth):
    """Two queries turned against each other cancel, and only the group of the third is as before."""
    turned = worth * [-1, -1, 1]
    by_group = {each.group: each for each in agreements({"a": table(worth), "b": table(turned)}, GROUPS, 0)}
    assert by_group["math/correct"].rank.value == pytest.approx(-1)
    assert by_group["code/correct"].rank.value == pytest.approx(1)
