"""Rows like other rows: nearest in length, of the same collection first, each used once."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.mixture.alike import alike

COLUMNS = {"tokens": pl.Int64, "family": pl.String}
frames = st.lists(st.tuples(st.integers(1, 30), st.sampled_from("ab")), max_size=12).map(
    lambda rows: pl.DataFrame(rows, schema=COLUMNS, orient="row").with_row_index()
)


def nearest_in_turn(wanted, rows):
    """The obvious way: look at all that are left; of two as near the longer, of two as long the earlier."""
    left, order = rows.rows(named=True), []
    for ask in wanted["tokens"]:
        if not left:
            break
        best = min(left, key=lambda row: (abs(row["tokens"] - ask), row["tokens"] < ask, row["index"]))
        order.append(best)
        left.remove(best)
    return order


@settings(deadline=None, max_examples=60)
@given(frames, frames)
def test_each_gets_the_nearest_length_that_is_left(wanted, rows):
    """The distances are those of looking at every row that is left, and all rows come back."""
    found = alike(wanted, rows, ["length"])
    assert sorted(found["index"]) == list(range(rows.height))
    expected = [row["tokens"] for row in nearest_in_turn(wanted, rows)]
    assert found["tokens"].to_list()[: len(expected)] == expected


@settings(deadline=None, max_examples=60)
@given(frames, frames)
def test_as_many_as_there_are_are_of_the_own_collection(wanted, rows):
    found = alike(wanted, rows, ["source"])
    used = found.head(min(wanted.height, rows.height))
    for family in "ab":
        there = min((wanted["family"] == family).sum(), (rows["family"] == family).sum())
        assert (used["family"] == family).sum() >= there


def test_nothing_held_leaves_the_order_as_it_was():
    rows = pl.DataFrame({"tokens": [3, 1, 2], "family": ["a", "b", "a"]})
    assert alike(rows, rows.reverse(), []).equals(rows.reverse())
