"""Leaving rows out: which ones, and what that does where rows are worth what they are said to be."""

import polars as pl
import pytest

from infra_core.validity.curves import CURVE, leave_out, left_out
from infra_core.validity.judging import OUTCOMES

IDS = [f"row-{n:02d}" for n in range(20)]
TOTALS = pl.DataFrame({"example_id": IDS, "influence": [float(n) for n in range(20)]})
QUERIES = [f"q{n}" for n in range(8)]


def test_either_end_leaves_and_as_many_at_random():
    drawn = leave_out(TOTALS, (0.1, 0.5), seed=0)
    assert set(drawn["design"]) == {CURVE}
    kept = dict(drawn.select("subset", "example_ids").rows())
    assert kept["top-0.1"] == IDS[:18]
    assert kept["bottom-0.1"] == IDS[2:]
    assert kept["top-0.5"] == IDS[:10]
    assert len(kept["random-0.5"]) == len(set(kept["random-0.5"])) == 10
    assert leave_out(TOTALS, (0.1, 0.5), seed=0).equals(drawn)
    assert leave_out(TOTALS, (), seed=0).is_empty()


def test_all_but_one_row_may_leave_and_never_all():
    assert {len(ids) for ids in leave_out(TOTALS, (1.0, 0.001), seed=0)["example_ids"]} == {1, 19}


@pytest.mark.parametrize("sign", [1, -1])
def test_where_rows_are_worth_what_is_said_the_top_costs_and_the_bottom_gains(sign):
    """And where they are worth the contrary it is the other way round."""
    drawn = leave_out(TOTALS, (0.25,), seed=0)
    worth = dict(TOTALS.rows())
    told = [
        (subset, seed, query, "math/correct", sign * sum(map(worth.get, ids)) + number + seed / 7, False)
        for subset, ids in drawn.select("subset", "example_ids").rows()
        for seed in range(2)
        for number, query in enumerate(QUERIES)
    ]
    outcomes = pl.DataFrame(told, schema=pl.Schema(OUTCOMES), orient="row")
    top, bottom = left_out(outcomes, (0.25,), seed=0)
    assert (top.side, bottom.side) == ("top", "bottom")
    assert sign * top.gain.interval.value < 0 < sign * bottom.gain.interval.value
    assert top.gain.interval.n == len(QUERIES)
