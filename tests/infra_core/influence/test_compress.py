"""Many queries in shared bases: what is kept, and what that does to scores."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import RequestError
from infra_core.influence import FactorParams, ScoreParams, fit_factors, precondition_queries, score_examples
from infra_core.influence.agreement import agreement
from infra_core.influence.compress import _leading, compress_queries
from tests import tiny

EXAMPLES = tiny.examples((9, 14, 7, 22, 5, 11, 17, 8, 12, 19, 6, 10))
GROUPS = {f"q{number}": [row] for number, row in enumerate(tiny.examples((8, 12, 9, 15, 7, 11), seed=3))}


def prepared(energy, rule="position"):
    model = tiny.qwen2(dtype=torch.float64)
    factors = fit_factors(model, EXAMPLES, FactorParams(modules="all", fisher="empirical"))
    params = ScoreParams(token_rule=rule, energy=energy)
    return (
        model,
        params,
        precondition_queries(model, factors, GROUPS, params),
        compress_queries(model, factors, GROUPS, params),
    )


@pytest.mark.parametrize("rule", ["position", "loss_term"])
def test_keeping_everything_loses_nothing_token_by_token(rule):
    model, params, exact, compressed = prepared(1.0, rule)
    one, other = (score_examples(model, each, EXAMPLES, params) for each in (exact, compressed))
    for left, right in zip(one["tokens"].to_list(), other["tokens"].to_list(), strict=True):
        assert left == pytest.approx(right, rel=1e-4, abs=1e-4 * max(map(abs, left)))


@pytest.mark.parametrize("energy", [0.8, 0.95])
def test_what_is_kept_is_what_was_asked_for_and_what_is_reported(energy):
    """Reported: the share of the squared norm of all directions together. The rest is orthogonal to it."""
    _, _, exact, compressed = prepared(energy)
    for name, directions in exact.directions.items():
        found = torch.stack([compressed.direction(name, query) for query in range(len(GROUPS))])
        kept = float(found.square().sum() / directions.square().sum())
        lost = float((found - directions).square().sum() / directions.square().sum())
        assert compressed.energy[name] == pytest.approx(kept)
        assert kept + lost == pytest.approx(1)
        assert energy <= kept < 1
        assert compressed.cores[name].shape[1] < directions.shape[1]


def test_agreement_is_measured_for_a_sample_of_groups_and_falls_with_what_is_thrown_away():
    found = []
    for energy in (1.0, 0.5):
        model, params, _, compressed = prepared(energy)
        found.append(agreement(model, compressed, EXAMPLES, params))
    assert found[0]["group"].to_list() == ["q0", "q2", "q4"]
    assert found[0]["n"].to_list() == [len(EXAMPLES)] * 3
    assert found[0]["pearson"].min() > 1 - 1e-9
    assert found[0]["spearman"].min() > 1 - 1e-9
    assert found[1]["pearson"].min() < 0.999


def test_agreement_is_the_correlation_of_the_scores_themselves():
    model, params, exact, compressed = prepared(0.7)
    one, other = (
        score_examples(model, each, EXAMPLES, params).partition_by("group", as_dict=True)
        for each in (exact, compressed)
    )
    expected = np.corrcoef(one["q2",]["influence"], other["q2",]["influence"])[0, 1]
    assert agreement(model, compressed, EXAMPLES, params)["pearson"][1] == pytest.approx(expected, abs=1e-6)


def test_compressing_without_saying_how_much_to_keep_is_refused():
    model = tiny.llama()
    factors = fit_factors(model, [], FactorParams(curvature="identity"))
    with pytest.raises(RequestError, match="energy="):
        compress_queries(model, factors, GROUPS, ScoreParams(token_rule="position"))


@given(st.integers(1, 10), st.integers(1, 12), st.floats(0, 0.9), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_the_leading_eigenvectors_are_orthonormal_as_few_as_possible_and_lose_no_more_than_allowed(
    width, rank, lost, seed
):
    rows = torch.randn(rank, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gram = rows.T @ rows
    basis = _leading(gram, lost)
    trace = float(gram.trace())
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1], dtype=torch.float64))
    assert trace - float((basis.T @ gram @ basis).trace()) <= lost * trace + 1e-9 * trace
    fewer = basis[:, 1:]
    if fewer.shape[1]:
        assert trace - float((fewer.T @ gram @ fewer).trace()) > lost * trace - 1e-9 * trace


def test_directions_that_are_all_zero_compress_to_zero():
    basis = _leading(torch.zeros(3, 3), 0.01)
    assert basis.shape == (3, 1)
