"""Covariances and eigenbases, against one example at a time."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import DataError
from infra_core.influence.covariance import add_gram, fit_covariances, fit_eigenbasis, mirror
from infra_core.influence.decomposition import RESIDUAL, decomposition_faults, eigendecomposition
from infra_core.recipe import FactorParams
from tests import tiny
from tests.oracles import loop

EMPIRICAL = FactorParams(modules="all", fisher="empirical")


def test_covariances_are_means_over_positions_that_predict_prompt_included_padding_not():
    """Leaving out the prompt, or taking in padding or the last position, moves them by tens of percent."""
    model, examples = tiny.qwen2(dtype=torch.float64).eval(), tiny.examples((9, 4, 7))
    found = fit_covariances(model, examples, EMPIRICAL, batch_tokens=1000)
    assert set(found.n_positions.values()) == {8 + 3 + 6}
    for name in ("model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"):
        sides = [loop.inputs_and_output_gradients(model, name, row.ids, row.scored) for row in examples]
        a, g = (torch.cat(side) for side in zip(*sides, strict=True))
        torch.testing.assert_close(found.cov_a[found.leaders[name]], a.T @ a / len(a))
        torch.testing.assert_close(found.cov_g[name], g.T @ g / len(g))
    prompt = examples[0].ids[: examples[0].spans[0].stop]
    assert len(prompt) > 1  # so that the claim in this test's name is one


@pytest.mark.parametrize("fisher", ["sampled", "empirical"])
def test_covariances_do_not_depend_on_batch_size_or_order(fisher):
    model, examples = tiny.qwen2(), tiny.examples((9, 4, 7, 12, 5))
    params = FactorParams(modules="mlp", fisher=fisher)
    together = fit_covariances(model, examples, params, batch_tokens=1000)
    alone = fit_covariances(model, examples[::-1], params, batch_tokens=1)
    for name in together.cov_g:
        torch.testing.assert_close(together.cov_g[name], alone.cov_g[name], rtol=1e-4, atol=1e-5)


def test_cut_covariances_are_the_diagonal_blocks_of_whole_ones_and_each_is_held_once():
    """An output is in the same covariance whichever inputs a piece has, and an input likewise."""
    model, examples = tiny.qwen2(), tiny.examples((9, 4, 7))
    name, whole = "model.layers.0.mlp.down_proj", FactorParams(modules="down_proj", fisher="empirical")
    one = fit_covariances(model, examples, whole)
    cut = fit_covariances(model, examples, whole.model_copy(update={"widest": 16}))
    a, g, third = one.cov_a[name], one.cov_g[name], slice(32, 48)  # 48 inputs, 32 outputs
    torch.testing.assert_close(cut.cov_a[f"{name}.r0of2.c2of3"], a[third, third])
    torch.testing.assert_close(cut.cov_g[f"{name}.r1of2.c0of3"], g[16:, 16:])
    assert (len(cut.cov_a), len(cut.cov_g), len(cut.leaders)) == (2 * 3, 2 * 2, 2 * 6)


def test_sampled_labels_give_another_curvature_than_the_data_and_another_seed_another_draw():
    model, examples = tiny.qwen2(), tiny.examples()
    traces = [
        sum(float(g.trace()) for g in fit_covariances(model, examples, params).cov_g.values())
        for params in (EMPIRICAL, FactorParams(modules="all"), FactorParams(modules="all", seed=1))
    ]
    assert len(set(traces)) == 3


def test_modules_that_share_their_input_share_one_basis():
    bases = fit_eigenbasis(tiny.llama(), tiny.examples(), EMPIRICAL)
    q, k, v = (bases[f"model.layers.0.self_attn.{side}_proj"] for side in "qkv")
    assert q.q_a is k.q_a is v.q_a
    assert q.q_g is not k.q_g


def test_numbers_that_stop_being_finite_are_named_at_once_with_module_and_example():
    model = tiny.llama()
    broken = dataclasses.replace(tiny.example(torch.tensor([7, 8, 9])), example_id="broken")
    with torch.no_grad():
        model.model.embed_tokens.weight[8] = torch.inf
    with pytest.raises(DataError, match=r"activations of module 'model\.layers\.0\.mlp\.gate_proj'.*broken"):
        fit_eigenbasis(model, [broken], FactorParams(fisher="empirical"))


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(DataError, match="no example to fit factors on"):
        fit_eigenbasis(tiny.llama(), tiny.examples((1,)), FactorParams())


@given(st.integers(1, 12), st.integers(0, 14), st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_an_eigendecomposition_recomposes_and_has_no_negative_eigenvalue(width, rank, seed):
    rows = torch.randn(rank, width, generator=torch.Generator().manual_seed(seed))
    covariance = rows.T @ rows
    vectors, values = eigendecomposition(covariance, "test")
    assert (values >= 0).all()
    torch.testing.assert_close(vectors @ values.diag() @ vectors.T, covariance, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(width), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [40, 700])
@pytest.mark.parametrize(("decomposition", "bound"), [(None, 2e-7), ("fp32", RESIDUAL)])
def test_wide_bases_are_orthonormal_and_decompose_within_the_bound(rank, decomposition, bound):
    """Judged in fp64, on a spectrum over six decades as activations have, of full rank and not.

    Stored in fp32, a basis of fp64 is off by 1e-7; one found in fp32 by 1e-6, and more where it is wider.
    """
    random = torch.Generator().manual_seed(rank)
    scales = torch.logspace(0, -3, 500)
    rows = torch.randn(rank, 500, generator=random) * scales @ torch.randn(500, 500, generator=random)
    covariance = rows.T @ rows / rank
    vectors, values = (each.double() for each in eigendecomposition(covariance, "test", decomposition))
    exact = covariance.double()
    assert float((exact @ vectors - vectors * values).norm() / exact.norm()) < bound
    skew = vectors.T @ vectors - torch.eye(500, dtype=torch.float64)
    assert float(skew.norm()) / 500**0.5 < bound


@given(st.integers(2, 60), st.floats(-6, -1), st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_a_few_random_directions_show_how_wrong_a_decomposition_is(width, size, seed):
    """Within a factor of three of the whole matrices: what is wrong by far never passes."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(2 * width, width, generator=random, dtype=torch.float64)
    values, right = torch.linalg.eigh(rows.T @ rows)
    vectors = right + 10**size * torch.randn(width, width, generator=random, dtype=torch.float64)
    exact = right @ values.diag() @ right.T
    residual, skew = decomposition_faults(exact, values, vectors)
    whole = float((exact @ vectors - vectors * values).norm() / exact.norm())
    one = torch.eye(width, dtype=torch.float64)
    assert whole / 3 < residual < 3 * whole
    assert float((vectors.T @ vectors - one).norm()) / width**0.5 / 3 < skew


@given(st.integers(1, 150), st.integers(0, 9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_half_a_product_mirrored_is_the_whole_whatever_the_width(width, rows, seed):
    random = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(rows, width, generator=random, dtype=torch.float64) for _ in range(2))
    total = torch.zeros(width, width, dtype=torch.float64)
    add_gram(total, first)
    add_gram(total, second)
    mirror(total)
    torch.testing.assert_close(total, first.T @ first + second.T @ second)


def test_a_covariance_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="covariance of the test"):
        eigendecomposition(torch.full((2, 2), torch.nan), "test")
