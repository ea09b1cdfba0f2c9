"""Instance scores against kronfluence, an independent implementation: same model, rows, mask and damping."""

import copy

import numpy as np
import pytest

from infra_core.influence import FactorParams, ScoreParams, attribute, fit_factors
from tests import tiny

pytest.importorskip("kronfluence", reason="make test-slow installs it")

from benchmarks import kronfluence_peer

TRAIN, QUERY = (24, 9, 17, 12, 30, 7, 21, 15, 11, 26, 19, 8), (10, 16, 23)


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["mlp", "all"])
def test_instance_scores_agree_with_kronfluence(choice, tmp_path, record_property):
    """Pearson over all pairs; a forgotten bias column, mask, square or rotation gives less than 0.99."""
    model = tiny.qwen2(num_hidden_layers=3, attn_implementation="eager").eval()
    train, queries = tiny.examples(TRAIN, seed=1), tiny.examples(QUERY, seed=2)
    factors = fit_factors(model, train, FactorParams(modules=choice, fisher="empirical"))
    groups = {f"q{i}": [query] for i, query in enumerate(queries)}
    ours = attribute(model, factors, groups, train, ScoreParams(token_rule="position"))
    ours = ours["influence"].to_numpy().reshape(len(train), len(queries)).T
    theirs = kronfluence_peer.fit_and_score(
        copy.deepcopy(model), train, queries, list(factors), tmp_path
    ).scores
    pearson = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    record_property("pearson", pearson)
    assert pearson >= 0.9999
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * np.abs(theirs).max())
