"""The sign, the sums and the ranks."""

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from infra_core.corpus.schema import SCORES
from infra_core.errors import DataError
from infra_core.influence.scores import ranked, score_rows, scores_frame
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


@given(st.permutations(list(enumerate([1.0, 0.5, 0.5, -1.0, 0.5]))))
@settings(max_examples=25, deadline=None)
def test_ranks_do_not_depend_on_the_order_of_rows(rows):
    frame = pl.DataFrame({
        "example_id": [f"e{i}" for i, _ in rows],
        "group": ["g"] * len(rows),
        "influence": [value for _, value in rows],
    })
    assert ranked(frame).sort("example_id")["rank"].to_list() == [1, 2, 3, 5, 4]
