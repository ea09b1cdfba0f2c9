"""Corrected eigenvalues, against dense Fishers made of autograd's gradients."""

import pytest
import torch

from infra_core.errors import DataError
from infra_core.influence import FactorParams, IdentityFactors, fit_eigenbasis, fit_factors
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


def test_identity_curvature_looks_at_no_example():
    factors = fit_factors(tiny.llama(), iter(()), FactorParams(curvature="identity"))
    assert len(factors) == 6
    assert set(factors.values()) == {IdentityFactors()}


def test_bases_of_another_model_are_refused():
    bases = fit_eigenbasis(tiny.llama(), tiny.examples(), FactorParams())
    with pytest.raises(DataError, match=r"eigenbases of module 'model\.layers\.0\.mlp\.gate_proj' are for"):
        fit_factors(tiny.llama(intermediate_size=64), tiny.examples(), FactorParams(), bases)
