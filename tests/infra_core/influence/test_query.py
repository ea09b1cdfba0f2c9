"""∇f of a group, and what becomes of it."""

import pytest
import torch

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError, RequestError
from infra_core.influence import FactorParams, ScoreParams, fit_factors, precondition, precondition_queries
from tests import tiny
from tests.oracles import loop

PARAMS = ScoreParams(token_rule="position")
IDENTITY = FactorParams(modules="all", curvature="identity")


def test_a_direction_is_the_mean_over_queries_of_the_gradient_of_their_summed_log_likelihood():
    model, queries = tiny.qwen2(dtype=torch.float64).eval(), tiny.examples((8, 3, 10))
    factors = fit_factors(model, [], IDENTITY)
    found = precondition_queries(model, factors, {"g": queries}, PARAMS, batch_tokens=20)
    gradients = [loop.loss_gradients(model, list(factors), row.ids, row.scored) for row in queries]
    for name, direction in found.directions.items():
        expected = -torch.stack([each[name] for each in gradients]).mean(0)
        torch.testing.assert_close(direction[0], expected, rtol=1e-9, atol=1e-10)


def test_each_group_is_preconditioned_by_its_modules_own_factors():
    model, queries = tiny.llama(), {"a": tiny.examples((8, 3)), "b": tiny.examples((9,), seed=1)}
    factors = fit_factors(model, tiny.examples(), FactorParams())
    plain = precondition_queries(
        model, fit_factors(model, [], FactorParams(curvature="identity")), queries, PARAMS
    )
    found = precondition_queries(model, factors, queries, PARAMS)
    assert found.groups == ("a", "b")
    for name, directions in found.directions.items():
        expected = precondition(plain.directions[name], factors[name], damping=0.1)
        torch.testing.assert_close(directions, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_no_groups_are_refused():
    with pytest.raises(RequestError, match="no query groups"):
        precondition_queries(tiny.llama(), {}, {}, PARAMS)


@pytest.mark.parametrize("lengths", [(), (1,), (5,)])
def test_a_group_with_nothing_scored_is_refused_by_name(lengths):
    """Its f is constant, so every score would be zero and nobody would know why."""
    model = tiny.llama()
    rows = [
        TokenizedExample(row.ids, torch.zeros(len(row), dtype=torch.bool)) for row in tiny.examples(lengths)
    ]
    with pytest.raises(DataError, match=r"query group 'math' has . queries with no scored token"):
        precondition_queries(model, fit_factors(model, [], IDENTITY), {"math": rows}, PARAMS)
