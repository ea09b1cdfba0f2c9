"""An index answers what an exact pass answers, within what it says it may be off, and passes no row again."""

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import RequestError
from infra_core.influence import (
    FactorParams,
    IndexParams,
    ScoreParams,
    attribute,
    correlated,
    fit_factors,
    index_examples,
    index_queries,
    leading,
    overlap,
    search,
)
from infra_core.influence.index import STEPS, index_layout, quantised
from tests import families, tiny

ROWS = tiny.examples((12, 7, 9, 5, 11, 14, 8, 10, 6, 13, 12, 9), seed=1)
GROUPS = {"math": tiny.examples((8, 10), seed=2), "code": tiny.examples((9,), seed=3)}
ALL = 10_000  # coordinates: more than any block has
ROUNDING = 1e-5  # of the largest score: sums in fp32


@pytest.fixture(scope="module")
def fitted():
    model = tiny.qwen2()
    return model, fit_factors(model, ROWS, FactorParams())


def exactly(model, factors, damping=0.1):
    return attribute(model, factors, GROUPS, ROWS, ScoreParams(damping=damping, token_rule="position"))


def assert_within_bounds(found, exact):
    off = (found["influence"] - exact["influence"]).abs()
    assert (off <= found["bound"] + ROUNDING * exact["influence"].abs().max()).all(), (off, found["bound"])


@given(coordinates=st.integers(1, 1600), damping=st.floats(0.01, 10.0))
@settings(max_examples=6, deadline=None)
def test_a_score_is_as_near_to_the_exact_one_as_it_says(fitted, coordinates, damping):
    model, factors = fitted
    params = IndexParams(coordinates=coordinates)
    asked = index_queries(model, factors, GROUPS, params)
    found = search(asked, [index_examples(model, factors, ROWS, params)], damping=damping)
    exact = exactly(model, factors, damping)
    assert found["example_id"].to_list() == exact["example_id"].to_list()
    assert found["group"].to_list() == exact["group"].to_list()
    assert_within_bounds(found, exact)


@pytest.mark.parametrize("family", ["phi", "gpt2", "phi3", "olmoe", "lora"])
def test_with_every_coordinate_only_rounding_to_a_byte_is_lost(family):
    model = families.build(family)
    factors = fit_factors(model, ROWS, FactorParams(modules="lora" if family == "lora" else "all"))
    params = IndexParams(coordinates=ALL)
    block = index_examples(model, factors, ROWS, params)
    found = search(index_queries(model, factors, GROUPS, params), [block], damping=0.1)
    exact = exactly(model, factors)
    # What is not kept is nothing, but for the rounding of two equal norms.
    assert float(block.tails.max()) < 1e-6 * float(block.scales.max()) * STEPS
    assert_within_bounds(found, exact)
    assert correlated(exact, found)["pearson"].min() > 0.999


def test_the_more_is_kept_the_smaller_is_what_a_score_may_be_off(fitted):
    model, factors = fitted
    bounds, tails = [], []
    for coordinates in (1, 32, 512, ALL):
        params = IndexParams(coordinates=coordinates)
        block = index_examples(model, factors, ROWS, params)
        found = search(index_queries(model, factors, GROUPS, params), [block], damping=0.1)
        bounds.append(found["bound"].mean())
        tails.append(float(block.tails.norm()))
        kept = sum(min(coordinates, one.eigenvalues.numel()) for one in factors.values())
        assert block.row_bytes == kept + 8 * len(factors)
    assert tails == sorted(tails, reverse=True)
    assert tails[-1] == 0
    assert bounds[0] > 3 * bounds[-1]


def test_what_is_asked_later_passes_no_row_through_the_model(fitted):
    """Another damping, a difference of groups and other queries are exact ones but for the bounds."""
    model, factors = fitted
    params = IndexParams(coordinates=ALL)
    block = index_examples(model, factors, ROWS, params)
    asked = index_queries(model, factors, GROUPS, params).contrast("math", "code")
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    found = {damping: search(asked, [block], damping=damping) for damping in (0.01, 1.0)}
    handle.remove()
    assert not calls
    for damping, scores in found.items():
        exact = exactly(model, factors, damping)
        assert_within_bounds(scores.filter(pl.col("group").is_in(list(GROUPS))), exact)
        math, code, both = (scores.filter(pl.col("group") == name) for name in asked.groups)
        difference = (
            exact.filter(pl.col("group") == "math")["influence"]
            - exact.filter(pl.col("group") == "code")["influence"]
        )
        assert_within_bounds(both, pl.DataFrame({"influence": difference}))
        assert not math.equals(code)


def test_rows_that_come_later_are_a_block_more(fitted):
    """To the bit: row by row, since what shares a batch moves a gradient by rounding."""
    model, factors = fitted
    params = IndexParams(coordinates=64)

    def indexed(rows):
        return index_examples(model, factors, rows, params, batch_tokens=1)

    whole, parts = indexed(ROWS), [indexed(ROWS[:7]), indexed(ROWS[7:])]
    for field in ("codes", "scales", "tails"):
        assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(whole, field))
    asked = index_queries(model, factors, GROUPS, params)
    one, several = search(asked, [whole], damping=0.1), search(asked, parts, damping=0.1)
    # Products of more rows at once may be added up in another order.
    assert one.drop("influence", "bound").equals(several.drop("influence", "bound"))
    assert (one["influence"] - several["influence"]).abs().max() <= ROUNDING * one["influence"].abs().max()


def test_spans_have_rows_of_their_own_that_sum_to_the_example(fitted):
    model, factors = fitted
    by_span, whole = IndexParams(coordinates=ALL, level="span"), IndexParams(coordinates=ALL)
    asked = index_queries(model, factors, GROUPS, by_span)
    spans = search(asked, [index_examples(model, factors, ROWS, by_span)], damping=0.1)
    exact = exactly(model, factors)
    wanted = [
        (row["example_id"], number, row["group"], value)
        for row in exact.to_dicts()
        for number, value in enumerate(row["spans"])
    ]
    schema = {"example_id": pl.String, "span": pl.Int32, "group": pl.String, "influence": pl.Float32}
    expected = pl.DataFrame(wanted, schema=schema, orient="row")
    both = spans.join(expected, on=["example_id", "span", "group"], suffix="_exact")
    assert len(both) == len(spans) == len(expected)
    assert_within_bounds(both, pl.DataFrame({"influence": both["influence_exact"]}))
    summed = spans.group_by("example_id", "group", maintain_order=True).agg(
        pl.col("influence").sum(), pl.col("bound").sum()
    )
    found = search(asked, [index_examples(model, factors, ROWS, whole)], damping=0.1)
    again = found.join(summed, on=["example_id", "group"], suffix="_of_spans")
    off = (again["influence"] - again["influence_of_spans"]).abs()
    assert (off <= again["bound"] + again["bound_of_spans"] + ROUNDING * found["influence"].abs().max()).all()
    assert len(again) == len(found)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=12))
def test_rounding_to_a_byte_moves_no_value_by_more_than_half_a_step(values):
    given_values = torch.tensor([values])
    codes, scales = quantised(given_values, [slice(0, len(values))])
    assert ((codes * scales - given_values).abs() <= scales * 0.5 * (1 + 1e-5)).all()


def test_kept_are_the_largest_eigenvalues_and_the_least_of_the_rest_is_known(fitted):
    _, factors = fitted
    layout = index_layout(factors, IndexParams(coordinates=10))
    for name, one in factors.items():
        values = one.eigenvalues.flatten().sort(descending=True).values
        assert torch.equal(layout.eigenvalues[name].sort(descending=True).values, values[:10])
        assert layout.least[name] == float(values[-1])


def test_an_index_without_eigenvalues_is_refused(fitted):
    model, _ = fitted
    factors = fit_factors(model, ROWS, FactorParams(curvature="identity"))
    with pytest.raises(RequestError, match="needs eigenvalues"):
        index_examples(model, factors, ROWS, IndexParams())


def test_the_best_and_worst_are_scored_again_and_how_many_were_found_is_said(fitted):
    model, factors = fitted
    params = IndexParams(coordinates=ALL)
    asked = index_queries(model, factors, GROUPS, params)
    found = search(asked, [index_examples(model, factors, ROWS, params)], damping=0.1)
    exact = exactly(model, factors)
    wanted = set(leading(found, 4)["example_id"])
    again = overlap(found, exact.filter(pl.col("example_id").is_in(wanted)), 2)
    assert again["overlap"].to_list() == [1.0] * 4
    assert set(again["m"]) == {2}
    turned = found.with_columns(-pl.col("influence"))
    assert overlap(turned, exact, 3)["overlap"].to_list() == [0.0] * 4
