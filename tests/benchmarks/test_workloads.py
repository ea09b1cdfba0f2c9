"""Rows and models of the benchmarks."""

import torch

from benchmarks.workloads import FULL, QUICK, build, query_rows, training_rows


def test_rows_are_the_same_every_time_and_none_is_a_query():
    one, again = training_rows(FULL["a"]), training_rows(FULL["a"])
    assert [row.example_id for row in one] == [row.example_id for row in again]
    assert not {row.example_id for row in one} & {row.example_id for row in query_rows(FULL["a"], 2)}


def test_lengths_are_log_uniform_within_their_bounds():
    lengths = [len(row) for row in training_rows(FULL["a"])]
    assert min(lengths) >= 64
    assert max(lengths) <= 1024
    # Halves, in logarithms, hold half the rows each: 256 = √(64·1024). A uniform draw has 20 % below it.
    assert sum(length < 256 for length in lengths) == len(lengths) / 2


def test_the_first_quarter_of_a_row_is_prompt():
    for row in training_rows(QUICK["a"]):
        prompt = len(row) // 4
        assert not row.scored[:prompt].any()
        assert row.scored[prompt:].all()


def test_the_model_is_the_same_every_time_and_leaves_the_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, again = build(QUICK["b"]), build(QUICK["b"])
    assert torch.equal(torch.rand(1), expected)
    for a, b in zip(one.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
