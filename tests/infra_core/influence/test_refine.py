"""Conjugate gradients on the true Gauss-Newton Hessian, against the same matrix written out."""

import pytest
import torch
from torch.func import functional_call, jacrev

from infra_core.errors import DataError, RequestError
from infra_core.influence import FactorParams, ScoreParams, fit_factors
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.query import query_gradients
from infra_core.influence.refine import conjugate_gradients, gauss_newton_product, refine_queries
from infra_core.influence.tracking import track
from tests import tiny

MODULES = (
    r"layers\.0\.self_attn\.k_proj|layers\.1\.self_attn\.v_proj"  # biases, two layers; 2 × 16 × 33 weights
)
PARAMS = ScoreParams(token_rule="position", damping=0.1)
EXAMPLES, QUERIES = tiny.examples((6, 9, 5)), {"a": tiny.examples((7,), seed=4)}


def gauss_newton(model, blocks, examples):
    """Mean over examples of Σₜ JᵀSJ, by autograd's Jacobian of the logits."""
    weights = {}
    for block in blocks.values():
        for name in (block.parameter, block.bias):
            weights[name] = model.get_parameter(name).detach()
    total = 0
    for row in examples:

        def logits(values, row=row):
            out = functional_call(model, values, (), {"input_ids": row.ids[None]}).logits[0]
            return out[:-1][row.scored[1:]]

        by_name = jacrev(logits)(weights)
        jacobian = torch.cat(
            [
                torch.cat([by_name[block.parameter], by_name[block.bias][..., None]], dim=-1).flatten(2)
                for block in blocks.values()
            ],
            dim=-1,
        )
        for token, moves in zip(logits(weights).softmax(-1), jacobian, strict=True):
            total = total + moves.T @ (torch.diag(token) - torch.outer(token, token)) @ moves
    return (total / len(examples)).detach()


def flat(vector):
    return torch.cat([each.flatten() for each in vector.values()])


@pytest.fixture(scope="module")
def world():
    model = tiny.qwen2(dtype=torch.float64).eval()
    blocks = choose_blocks(model, MODULES)
    factors = fit_factors(model, EXAMPLES, FactorParams(modules=MODULES, fisher="empirical"))
    return model, blocks, factors, gauss_newton(model, blocks, EXAMPLES)


@pytest.mark.parametrize("batch_tokens", [1, 1000])
def test_the_product_is_that_of_the_matrix_written_out(world, batch_tokens):
    model, blocks, _, matrix = world
    random = torch.Generator().manual_seed(0)
    vector = {
        name: torch.randn(block.shape, generator=random, dtype=torch.float64)
        for name, block in blocks.items()
    }
    found = gauss_newton_product(model, track(model, blocks), EXAMPLES, vector, batch_tokens=batch_tokens)
    torch.testing.assert_close(flat(found), matrix @ flat(vector), rtol=1e-6, atol=1e-9)


def test_enough_iterations_solve_the_damped_system_exactly_and_the_residuals_say_so(world):
    model, blocks, factors, matrix = world
    ridge = torch.cat([
        torch.full((block.d_out * block.d_in,), 0.1 * float(factors[name].eigenvalues.mean()))
        for name, block in blocks.items()
    ]).double()
    (_, gradient), *_ = query_gradients(model, factors, QUERIES, (1000, None))
    exact = torch.linalg.solve(matrix + ridge.diag(), flat(gradient))
    errors = []
    for iterations in (0, 5, 400):
        found = refine_queries(model, factors, QUERIES, EXAMPLES, PARAMS, iterations=iterations)
        solution = flat({name: each[0] for name, each in found.preconditioned.directions.items()})
        left = (flat(gradient) - (matrix + ridge.diag()) @ solution).norm() / flat(gradient).norm()
        assert found.residuals["a"][-1] == pytest.approx(float(left), rel=1e-3, abs=1e-7)
        errors.append(float((solution - exact).norm() / exact.norm()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 5e-3  # where the search calls a residual of 1e-7 rounding


def test_a_perfect_preconditioner_needs_no_iteration():
    matrix = {"m": torch.tensor([[2.0, 0.0], [0.0, 5.0]], dtype=torch.float64)}
    target = {"m": torch.tensor([[1.0], [1.0]], dtype=torch.float64)}
    solution, residuals = conjugate_gradients(
        lambda v: {"m": matrix["m"] @ v["m"]},
        target,
        lambda v: {"m": torch.linalg.solve(matrix["m"], v["m"])},
        3,
    )
    assert len(residuals) == 1
    torch.testing.assert_close(solution["m"], torch.tensor([[0.5], [0.2]], dtype=torch.float64))


def test_identity_curvature_and_rows_without_scored_tokens_are_refused(world):
    model, _, factors, _ = world
    identity = fit_factors(model, [], FactorParams(modules=MODULES, curvature="identity"))
    with pytest.raises(RequestError, match="identity"):
        refine_queries(model, identity, QUERIES, EXAMPLES, PARAMS)
    with pytest.raises(DataError, match="scored"):
        refine_queries(model, factors, QUERIES, tiny.examples((1,)), PARAMS)
