"""Corrected eigenvalues, against dense Fishers made of autograd's gradients."""

import pytest
import torch

from infra_core.corpus.example import Span, TokenizedExample
from infra_core.errors import DataError
from infra_core.influence import FactorParams, IdentityFactors, fit_eigenbasis, fit_factors
from infra_core.influence.covariance import Eigenbasis
from infra_core.influence.decomposition import eigendecomposition
from infra_core.influence.eigenvalues import kfac_factors
from tests import tiny
from tests.oracles import dense, loop

MODULE = "model.layers.1.self_attn.k_proj"  # 33 × 16 with its bias: small enough for a dense Fisher
PARAMS = FactorParams(modules=MODULE, fisher="empirical")


def fitted(lengths):
    model, examples = tiny.qwen2(dtype=torch.float64).eval(), tiny.examples(lengths)
    bases = fit_eigenbasis(model, examples, PARAMS)
    gradients = [loop.loss_gradients(model, [MODULE], row.ids, row.scored)[MODULE] for row in examples]
    return fit_factors(model, examples, PARAMS, bases)[MODULE], bases[MODULE], torch.stack(gradients)


def test_eigenvalues_are_the_diagonal_of_the_fisher_of_sequences_in_the_basis():
    """Per sequence and of the summed loss: a mean over tokens would be smaller by the squared length."""
    factors, basis, gradients = fitted((9, 4, 7, 12))
    in_basis = basis.q_g.T @ gradients @ basis.q_a
    torch.testing.assert_close(factors.eigenvalues, in_basis.square().mean(0))
    assert factors.n_sequences == 4


def test_ekfac_of_a_model_is_no_further_from_its_fisher_than_the_best_scaled_kfac():
    factors, basis, gradients = fitted((9, 4, 7, 12))
    exact = dense.fisher(gradients)
    ekfac = dense.in_basis(factors.q_g, factors.q_a, factors.eigenvalues)
    kfac = dense.in_basis(basis.q_g, basis.q_a, torch.outer(basis.values_g, basis.values_a))
    best = (exact * kfac).sum() / kfac.square().sum()
    assert torch.dist(exact, ekfac) < torch.dist(exact, best * kfac)


def test_kfac_and_ekfac_are_exact_for_a_single_position():
    """One gradient δaᵀ: its Fisher is δδᵀ ⊗ aaᵀ itself."""
    factors, basis, gradients = fitted((2,))
    exact = dense.fisher(gradients)
    kfac = dense.in_basis(basis.q_g, basis.q_a, torch.outer(basis.values_g, basis.values_a))
    ekfac = dense.in_basis(factors.q_g, factors.q_a, factors.eigenvalues)
    torch.testing.assert_close(kfac, exact)
    torch.testing.assert_close(ekfac, exact)


@pytest.mark.parametrize("fisher", ["sampled", "empirical"])
def test_factors_do_not_depend_on_batch_size_order_or_what_else_is_tracked(fisher):
    """Compared recomposed: close eigenvectors may turn. Alone, v_proj shares its A with none."""
    model, examples = tiny.qwen2(dtype=torch.float64), tiny.examples((9, 4, 40, 12, 33))
    name = "model.layers.1.self_attn.v_proj"
    together = fit_factors(model, examples, FactorParams(modules="all", fisher=fisher), batch_tokens=1000)
    alone = fit_factors(model, examples[::-1], FactorParams(modules=name, fisher=fisher), batch_tokens=1)
    both = [dense.in_basis(one[name].q_g, one[name].q_a, one[name].eigenvalues) for one in (together, alone)]
    torch.testing.assert_close(*both, rtol=1e-6, atol=1e-6 * float(both[0].abs().max()))


def test_bases_fitted_apart_for_modules_that_share_their_input_are_refused():
    model, rows = tiny.llama(), (tiny.examples(), tiny.examples(seed=7))
    gate, up = (
        fit_eigenbasis(model, each, FactorParams(modules=rf"layers\.0\.mlp\.{side}"))
        for each, side in zip(rows, ("gate", "up"), strict=True)
    )
    with pytest.raises(DataError, match=r"gate_proj' and '.*up_proj' are fed with the same tensor"):
        fit_factors(model, rows[0], FactorParams(), gate | up)


def test_kfac_is_the_fisher_itself_where_positions_are_draws_of_both_sides_apart():
    """All pairs of three activations and two output gradients: G ⊗ A is exact, whatever their scales."""
    random = torch.Generator().manual_seed(0)
    a, g = (torch.randn(n, 4, generator=random, dtype=torch.float64) for n in (3, 2))
    (q_a, values_a), (q_g, values_g) = (
        eigendecomposition(rows.T @ rows / len(rows), "test") for rows in (a, g)
    )
    gradients = torch.stack([torch.outer(g_j, a_i) for a_i in a for g_j in g])
    found = kfac_factors(Eigenbasis(q_a, q_g, values_a, values_g, positions=1.0))
    torch.testing.assert_close(dense.in_basis(q_g, q_a, found.eigenvalues), dense.fisher(gradients))


def test_kfac_multiplies_by_the_positions_of_a_sequence():
    model, examples = tiny.qwen2(dtype=torch.float64).eval(), tiny.examples((9, 5))
    bases = fit_eigenbasis(model, examples, PARAMS)
    found = fit_factors(model, examples, PARAMS.model_copy(update={"curvature": "kfac"}), bases)[MODULE]
    sides = [loop.inputs_and_output_gradients(model, MODULE, row.ids, row.scored) for row in examples]
    a, g = (torch.cat(side) for side in zip(*sides, strict=True))
    expected = (8 + 4) / 2 * torch.kron(g.T @ g / len(g), a.T @ a / len(a))
    torch.testing.assert_close(dense.in_basis(found.q_g, found.q_a, found.eigenvalues), expected)


def test_diagonal_curvature_is_the_mean_squared_gradient_of_each_weight():
    model, examples = tiny.qwen2(dtype=torch.float64).eval(), tiny.examples((9, 4, 7))
    found = fit_factors(model, examples, PARAMS.model_copy(update={"curvature": "diagonal"}))[MODULE]
    gradients = [loop.loss_gradients(model, [MODULE], row.ids, row.scored)[MODULE] for row in examples]
    torch.testing.assert_close(found.eigenvalues, torch.stack(gradients).square().mean(0))


def test_more_draws_come_nearer_to_the_curvature_under_the_models_own_labels():
    """Exact by weighing all labels of one scored token; 300 draws miss it by some percent."""
    model = tiny.qwen2(dtype=torch.float64).eval()
    ids = tiny.examples((6,))[0].ids
    row = TokenizedExample(ids, torch.arange(6) == 5, (Span(0, 5, "prompt"), Span(5, 6, "text")))
    exact = 0.0
    weights = model(input_ids=ids[None]).logits[0, -2].softmax(-1)
    for label, weight in enumerate(weights.tolist()):
        other = torch.cat([ids[:-1], torch.tensor([label])])
        gradient = loop.loss_gradients(model, [MODULE], other, row.scored)[MODULE]
        exact = exact + weight * gradient.square()
    off = []
    for draws in (1, 300):
        params = FactorParams(modules=MODULE, curvature="diagonal", draws=draws)
        found = fit_factors(model, [row], params)[MODULE]
        assert found.n_sequences == draws
        off.append(float(torch.dist(found.eigenvalues, exact) / exact.norm()))
    assert off[1] < 0.15 < 0.3 < off[0]


def test_identity_curvature_looks_at_no_example():
    factors = fit_factors(tiny.llama(), iter(()), FactorParams(curvature="identity"))
    assert len(factors) == 6
    assert set(factors.values()) == {IdentityFactors()}


def test_bases_of_another_model_are_refused():
    bases = fit_eigenbasis(tiny.llama(), tiny.examples(), FactorParams())
    with pytest.raises(DataError, match=r"eigenbases of module 'model\.layers\.0\.mlp\.gate_proj' are for"):
        fit_factors(tiny.llama(intermediate_size=64), tiny.examples(), FactorParams(), bases)
