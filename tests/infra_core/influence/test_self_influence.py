"""An example's influence on itself, against asking for it as a query."""

import pytest
import torch

from infra_core.influence import FactorParams, ScoreParams, attribute, fit_factors
from infra_core.influence.self_influence import self_influence
from tests import families, tiny

PARAMS = ScoreParams(token_rule="position")


@pytest.mark.parametrize("curvature", ["ekfac", "kfac", "diagonal", "identity"])
@pytest.mark.parametrize("family", ["qwen2", "mixtral"])
def test_it_is_the_influence_on_its_own_log_likelihood_whatever_the_batch(family, curvature):
    model, examples = families.build(family), tiny.examples((9, 4, 40, 12, 1))
    factors = fit_factors(
        model, examples, FactorParams(modules="all", curvature=curvature, fisher="empirical")
    )
    found = self_influence(model, factors, examples, PARAMS, batch_tokens=60)
    assert found["example_id"].to_list() == [row.example_id for row in examples]
    for row, value in zip(examples[:-1], found["self_influence"], strict=False):
        asked = attribute(model, factors, {"itself": [row]}, [row], PARAMS)["influence"][0]
        assert value == pytest.approx(asked, rel=1e-4)
        assert value > 0
    assert found["self_influence"][-1] == 0  # a single token predicts nothing
    alone = self_influence(model, factors, examples[::-1], PARAMS, batch_tokens=1)
    assert alone["self_influence"].to_list()[::-1] == pytest.approx(
        found["self_influence"].to_list(), rel=1e-5
    )


def test_a_row_of_noise_among_a_repeated_one_stands_out():
    model = tiny.llama(dtype=torch.float64).eval()
    repeated, odd = tiny.examples((20,), seed=1) * 9, tiny.examples((20,), seed=2)
    rows = [*repeated, *odd]
    factors = fit_factors(model, rows, FactorParams(fisher="empirical"))
    found = self_influence(model, factors, rows, PARAMS)["self_influence"].to_list()
    assert found[-1] > 2 * max(found[:-1])
