"""The sign, the sums and the ranks."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from infra_core.corpus.schema import SCORES
from infra_core.errors import DataError
from infra_core.influence.scores import mean_scores, ranked, score_rows, scores_frame
from tests import tiny


def test_a_slope_that_lowers_the_loss_along_f_is_helpful():
    example = tiny.examples((3,))[0]
    row = score_rows(example, ["g"], torch.tensor([[0.0, -2.0, 0.5]]))[0]
    assert row["influence"] == 1.5
    assert row["tokens"] == [0.0, 2.0, -0.5]


@given(
    arrays.arrays("float32", (2, 10), elements=st.floats(-1e4, 1e4, width=32)),
)
@settings(max_examples=50, deadline=None)
def test_tokens_and_spans_sum_to_the_example(slopes):
    example = tiny.examples((10,))[0]
    frame = scores_frame(score_rows(example, ["a", "b"], torch.from_numpy(slopes.copy())))
    assert frame.schema == pl.Schema(SCORES)
    for row in frame.iter_rows(named=True):
        bound = 1e-4 * sum(map(abs, row["tokens"])) + 1e-30
        assert abs(sum(row["tokens"]) - row["influence"]) <= bound
        assert abs(sum(row["spans"]) - row["influence"]) <= bound
        assert len(row["spans"]) == len(example.spans)


def test_zero_is_written_without_a_sign():
    row = score_rows(tiny.examples((2,))[0], ["g"], torch.zeros(1, 2))[0]
    assert str(row["tokens"]) == "[0.0, 0.0]"


def test_a_score_that_is_no_number_is_refused_by_example():
    example = tiny.examples((2,))[0]
    with pytest.raises(DataError, match=f"influence of example {example.example_id} is not finite"):
        score_rows(example, ["g"], torch.tensor([[0.0, torch.nan]]))


def table(values):
    rows = [
        {"example_id": "a", "group": "g", "influence": sum(values), "spans": [sum(values)], "tokens": values}
    ]
    return scores_frame(rows)


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_mean_is_of_every_token_span_and_row_whatever_the_order(tables):
    found = mean_scores([table(values) for values in tables])
    assert found.schema == pl.Schema(SCORES)
    np.testing.assert_allclose(found["tokens"][0].to_numpy(), np.mean(tables, axis=0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found["influence"][0], np.mean(np.sum(tables, axis=1)), rtol=1e-4, atol=1e-2)
    assert mean_scores([table(values) for values in reversed(tables)]).equals(found)


def test_scores_of_other_rows_have_no_mean():
    one = table([1.0, 2.0])
    for other in (one.with_columns(example_id=pl.lit("b")), table([1.0, 2.0, 3.0])):
        with pytest.raises(ValueError, match="other rows"):
            mean_scores([one, other])


@given(st.permutations(list(enumerate([1.0, 0.5, 0.5, -1.0, 0.5]))))
@settings(max_examples=25, deadline=None)
def test_ranks_do_not_depend_on_the_order_of_rows(rows):
    frame = pl.DataFrame({
        "example_id": [f"e{i}" for i, _ in rows],
        "group": ["g"] * len(rows),
        "influence": [value for _, value in rows],
    })
    assert ranked(frame).sort("example_id")["rank"].to_list() == [1, 2, 3, 5, 4]
