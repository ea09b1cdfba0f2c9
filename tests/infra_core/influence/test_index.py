"""An index answers what an exact pass answers, about as far off as it says, and passes no row again."""

import itertools

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
    by_example,
    correlated,
    fit_factors,
    index_examples,
    index_queries,
    leading,
    overlap,
    search,
)
from infra_core.influence.factors import DiagonalFactors
from infra_core.influence.index import WHITENING, index_layout, quantised
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


def indexed(model, factors, params, damping=0.1, rows=ROWS):
    return search(
        index_queries(model, factors, GROUPS, params, damping=damping),
        [index_examples(model, factors, rows, params)],
    )


def as_near_as_told(found, exact):
    """Whether each score is within six standard errors of the exact one, but for sums in fp32."""
    off = (found["influence"] - exact["influence"]).abs()
    return (off <= 6 * found["error"] + ROUNDING * exact["influence"].abs().max()).all()


@given(coordinates=st.integers(24, 1600), damping=st.floats(0.01, 10.0))
@settings(max_examples=6, deadline=None)
def test_a_score_is_about_as_near_to_the_exact_one_as_it_says(fitted, coordinates, damping):
    model, factors = fitted
    found = indexed(model, factors, IndexParams(coordinates=coordinates), damping)
    exact = exactly(model, factors, damping)
    assert found["example_id"].to_list() == exact["example_id"].to_list()
    assert found["group"].to_list() == exact["group"].to_list()
    assert as_near_as_told(found, exact)


def test_errors_are_neither_too_small_nor_too_large_and_scores_are_right_on_average(fitted):
    """By other hashes, of blocks that are called otherwise: of what chance does, a few draws say enough."""
    gradient, direction = (torch.randn(40, 30, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    values = torch.rand(40, 30, generator=torch.Generator().manual_seed(2)).square()
    direction += gradient
    exact, products = float((gradient * direction / (values + values.mean())).sum()), []
    for draw in range(300):
        factors = {f"block {draw}": DiagonalFactors(values, 1)}
        [folding] = index_layout(factors, IndexParams(coordinates=64)).foldings.values()
        products.append(float(folding.fold(gradient) @ folding.fold(direction, 1.0)))
    found = torch.tensor(products)
    even = (values + WHITENING * values.mean()).sqrt()
    x, y = gradient / even, direction * even / (values + values.mean())
    told = float(((x.square().sum() * y.square().sum() + exact**2) / 64).sqrt())
    assert abs(float(found.mean()) - exact) < 4 * told / 300**0.5
    assert 0.8 < float(found.std()) / told < 1.25


@pytest.mark.parametrize("family", ["phi", "gpt2", "phi3", "olmoe", "lora"])
def test_with_every_coordinate_only_rounding_to_a_byte_is_lost(family):
    model = families.build(family)
    factors = fit_factors(model, ROWS, families.params_of(family))
    found, exact = indexed(model, factors, IndexParams(coordinates=ALL)), exactly(model, factors)
    assert as_near_as_told(found, exact)
    assert correlated(exact, found)["pearson"].min() > 0.999


def test_the_more_is_kept_the_smaller_is_what_a_score_may_be_off(fitted):
    model, factors = fitted
    errors = []
    for coordinates in (16, 64, 256, ALL):
        params = IndexParams(coordinates=coordinates)
        errors.append(indexed(model, factors, params)["error"].mean())
        kept = sum(min(coordinates, one.eigenvalues.numel()) for one in factors.values())
        assert index_examples(model, factors, ROWS, params).row_bytes == kept + 4 * len(factors)
    assert all(less < 0.7 * more for more, less in itertools.pairwise(errors))


def test_what_is_asked_later_passes_no_row_through_the_model(fitted):
    """Another damping, a difference of groups and other queries are exact ones but for the errors."""
    model, factors = fitted
    params = IndexParams(coordinates=ALL)
    block = index_examples(model, factors, ROWS, params)
    for damping in (0.01, 1.0):
        asked = index_queries(model, factors, GROUPS, params, damping=damping).contrast("math", "code")
        calls = []
        handle = model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        scores = search(asked, [block])
        handle.remove()
        assert not calls
        exact = exactly(model, factors, damping)
        assert as_near_as_told(scores.filter(pl.col("group").is_in(list(GROUPS))), exact)
        math, code, both = (scores.filter(pl.col("group") == name) for name in asked.groups)
        difference = (
            exact.filter(pl.col("group") == "math")["influence"]
            - exact.filter(pl.col("group") == "code")["influence"]
        )
        assert as_near_as_told(both, pl.DataFrame({"influence": difference}))
        assert not math.equals(code)


def test_rows_that_come_later_are_a_block_more(fitted):
    """To the bit: row by row, since what shares a batch moves a gradient by rounding."""
    model, factors = fitted
    params = IndexParams(coordinates=64)

    def alone(rows):
        return index_examples(model, factors, rows, params, batch_tokens=1)

    whole, parts = alone(ROWS), [alone(ROWS[:7]), alone(ROWS[7:])]
    for field in ("codes", "scales"):
        assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(whole, field))
    asked = index_queries(model, factors, GROUPS, params, damping=0.1)
    one, several = search(asked, [whole]), search(asked, parts)
    # Products of more rows at once may be added up in another order.
    assert one.drop("influence", "error").equals(several.drop("influence", "error"))
    assert (one["influence"] - several["influence"]).abs().max() <= ROUNDING * one["influence"].abs().max()


def test_spans_have_rows_of_their_own_that_sum_to_the_example(fitted):
    model, factors = fitted
    by_span, whole = IndexParams(coordinates=ALL, level="span"), IndexParams(coordinates=ALL)
    spans = indexed(model, factors, by_span)
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
    assert as_near_as_told(both, pl.DataFrame({"influence": both["influence_exact"]}))
    found, summed = indexed(model, factors, whole), by_example(spans)
    again = found.join(summed, on=["example_id", "group"], suffix="_of_spans")
    off = (again["influence"] - again["influence_of_spans"]).abs()
    assert (off < 5 * (again["error"] + again["error_of_spans"])).all()
    assert len(again) == len(found)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=12))
def test_rounding_to_a_byte_moves_no_value_by_more_than_half_a_step(values):
    given_values = torch.tensor([values])
    codes, scales = quantised(given_values, [slice(0, len(values))])
    assert ((codes * scales - given_values).abs() <= scales * 0.5 * (1 + 1e-5)).all()


def test_a_block_is_folded_alike_wherever_it_is(fitted):
    """Alone, beside others, in another run; and every coordinate is somewhere."""
    _, factors = fitted
    params = IndexParams(coordinates=10)
    name, one = next(iter(factors.items()))
    alone, among = (
        index_layout({name: one}, params).foldings[name],
        index_layout(factors, params).foldings[name],
    )
    gradient = torch.randn(one.eigenvalues.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(alone.fold(gradient), among.fold(gradient))
    assert not torch.equal(alone.rows, index_layout(factors, params).foldings[list(factors)[1]].rows)
    assert alone.fold(gradient).all()


def test_an_index_without_eigenvalues_is_refused(fitted):
    model, _ = fitted
    factors = fit_factors(model, ROWS, FactorParams(curvature="identity"))
    with pytest.raises(RequestError, match="needs eigenvalues"):
        index_examples(model, factors, ROWS, IndexParams())


def test_the_best_and_worst_are_scored_again_and_how_many_were_found_is_said(fitted):
    model, factors = fitted
    params = IndexParams(coordinates=ALL)
    found = indexed(model, factors, params)
    exact = exactly(model, factors)
    wanted = set(leading(found, 4)["example_id"])
    again = overlap(found, exact.filter(pl.col("example_id").is_in(wanted)), 2)
    assert again["overlap"].to_list() == [1.0] * 4
    assert set(again["m"]) == {2}
    turned = found.with_columns(-pl.col("influence"))
    assert overlap(turned, exact, 3)["overlap"].to_list() == [0.0] * 4
