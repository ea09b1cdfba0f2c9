"""The inverse-curvature product and the eigenvalue correction, against dense linear algebra."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.influence.factors import IdentityFactors, ModuleFactors, precondition
from tests.oracles import dense

sizes = st.tuples(st.integers(2, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**16))


def seen_through(size):
    """Factors of a module fed one position a sequence, straight from the definitions."""
    n, d_in, d_out, seed = size
    random = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d_in, generator=random, dtype=torch.float64)
    g = torch.randn(n, d_out, generator=random, dtype=torch.float64)
    q_a, q_g = torch.linalg.eigh(a.T @ a)[1], torch.linalg.eigh(g.T @ g)[1]
    gradients = g[:, :, None] * a[:, None, :]
    eigenvalues = (q_g.T @ gradients @ q_a).square().mean(0)
    return ModuleFactors(q_a, q_g, eigenvalues, n_sequences=n), gradients, a, g


@given(sizes)
@settings(max_examples=50, deadline=None)
def test_ekfac_is_never_further_from_the_fisher_than_kfac(size):
    """The corrected eigenvalues are the best diagonal in that basis (George et al. 2018)."""
    factors, gradients, a, g = seen_through(size)
    exact = dense.fisher(gradients)
    kfac = torch.kron(g.T @ g / len(g), a.T @ a / len(a))
    ekfac = dense.in_basis(factors.q_g, factors.q_a, factors.eigenvalues)
    assert torch.dist(exact, ekfac) <= torch.dist(exact, kfac) + 1e-9


@given(sizes)
@settings(max_examples=50, deadline=None)
def test_precondition_solves_the_damped_dense_system(size):
    factors, gradients, _, _ = seen_through(size)
    curvature = dense.in_basis(factors.q_g, factors.q_a, factors.eigenvalues)
    for gradient, product in zip(gradients, precondition(gradients, factors, damping=0.1), strict=True):
        expected = dense.damped_inverse_product(curvature, gradient, damping=0.1)
        torch.testing.assert_close(product, expected, rtol=1e-8, atol=1e-8)


def test_precondition_refuses_zero_damping():
    unit = ModuleFactors(torch.eye(2), torch.eye(1), torch.ones(1, 2), n_sequences=1)
    with pytest.raises(ValueError, match=r"damping must be positive, got 0\.0"):
        precondition(torch.ones(1, 2), unit, damping=0.0)


def test_a_module_without_curvature_gives_zero_and_not_nan():
    flat = ModuleFactors(torch.eye(2), torch.eye(1), torch.zeros(1, 2), n_sequences=1)
    assert precondition(torch.ones(1, 2), flat, damping=0.1).tolist() == [[0.0, 0.0]]


def test_identity_curvature_leaves_a_gradient_as_it_is():
    gradient = torch.randn(3, 2)
    assert precondition(gradient, IdentityFactors(), damping=0.1) is gradient
