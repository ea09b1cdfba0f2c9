"""Published rows are what trainers read, and every difference to the corpus is listed once."""

import polars as pl

from infra_core.corpus.schema import LEFT, MIXTURE
from infra_core.publish import CHANGES, PUBLISHED, changes, published

ROW = {
    "example_id": "a",
    "domain": "math",
    "prompt": "1+1?",
    "response": "2",
    "origin": "kept",
    "reason": "kept",
}


def mixture(*rows):
    return pl.DataFrame(
        [{name: (ROW | row).get(name) for name in MIXTURE} for row in rows], schema=pl.Schema(MIXTURE)
    )


def test_a_row_is_one_exchange_and_has_no_column_that_trainers_take_for_another_kind_of_data():
    found = published(mixture({}))
    assert found.schema == pl.Schema(PUBLISHED)
    assert found["messages"].to_list() == [
        [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    ]
    assert not {"prompt", "completion", "chosen", "rejected", "label", "text"} & set(found.columns)


def test_what_left_came_was_cut_or_weighs_otherwise_is_listed_and_what_is_as_it_was_is_not():
    rows = mixture(
        {},
        {"example_id": "b", "origin": "swapped_in", "replaces": "x", "reason": "math easy→hard"},
        {"example_id": "c", "origin": "edited", "replaces": "y", "reason": "math harmful spans dropped"},
        {"example_id": "d", "weight": 0.5, "reason": "math weighed by influence"},
    )
    left = pl.DataFrame(
        [("x", "math", "s", "easy", 9, "math easy→hard", "b")], schema=pl.Schema(LEFT), orient="row"
    )
    found = changes(rows, left)
    assert found.schema == pl.Schema(CHANGES)
    assert found.select("example_id", "change", "other").rows() == [
        ("x", "left", "b"), ("b", "came", "x"), ("c", "edited", "y"), ("d", "weighed", None),
    ]  # fmt: skip
