"""Passes that are kept give what passes that are made give, and nothing that is out of date."""

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from torch import nn

from infra_core.influence import (
    FactorParams,
    KeptPasses,
    ScoreParams,
    fit_eigenbasis,
    fit_factors,
    precondition_queries,
    score_examples,
    self_influence,
)
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.passes import quiet
from infra_core.influence.stretches import stretches
from tests import families, tiny

ROWS = tiny.examples((12, 7, 9, 5, 11), seed=1)
GROUPS = {"math": tiny.examples((8, 10), seed=2)}
POSITION = ScoreParams(token_rule="position")
BATCH = 24


def passes_made(model, work):
    """How often the whole model is run while `work` is done, beside looks at it, which need no gradient."""
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    try:
        found = work()
    finally:
        handle.remove()
    return found, sum(calls)


def fit(model, rows, params):
    bases = fit_eigenbasis(model, rows, params, batch_tokens=BATCH)
    return fit_factors(model, rows, params, bases, batch_tokens=BATCH)


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("modules", ["mlp", "all"])
def test_factors_are_the_same_to_the_bit_and_scores_to_rounding_in_every_family(family, modules):
    model, kept = families.build(family), KeptPasses(ROWS)
    params = FactorParams(modules=modules, draws=2)
    expected, found = fit(model, ROWS, params), fit(model, kept, params)
    for name, factors in expected.items():
        assert torch.equal(found[name].q_a, factors.q_a)
        assert torch.equal(found[name].q_g, factors.q_g)
        assert torch.equal(found[name].eigenvalues, factors.eigenvalues)
    asked = precondition_queries(model, expected, GROUPS, POSITION)
    plain, again = (score_examples(model, asked, rows, POSITION, batch_tokens=BATCH) for rows in (ROWS, kept))
    own, own_again = (
        self_influence(model, expected, rows, POSITION, batch_tokens=BATCH) for rows in (ROWS, kept)
    )
    # Modules may be added up in another order; anything else is off by far more than rounding.
    assert_frame_equal(plain, again, rel_tol=1e-6, abs_tol=1e-9)
    assert_frame_equal(own, own_again, rel_tol=1e-12)


@pytest.mark.parametrize("fisher", ["sampled", "empirical"])
def test_the_model_is_run_once_over_the_rows_for_covariances_eigenvalues_and_scores(fisher):
    model, kept = tiny.qwen2(), KeptPasses(ROWS)
    params = FactorParams(fisher=fisher)
    _, plain = passes_made(model, lambda: fit_eigenbasis(model, ROWS, params, batch_tokens=BATCH))
    factors, made = passes_made(model, lambda: fit(model, kept, params))
    assert made == plain > 1
    asked = precondition_queries(model, factors, GROUPS, POSITION)
    _, made = passes_made(model, lambda: score_examples(model, asked, kept, POSITION, batch_tokens=BATCH))
    assert made == 0


def test_rows_beyond_the_budget_are_passed_through_as_ever():
    model = tiny.llama()
    params = FactorParams(fisher="empirical")
    a_batch = 2 * 2 * 32 * 4 * (BATCH + 1)  # input and gradient of two MLPs, 32 wide, fp32
    for budget, most in ((0, 0), (a_batch, 1), (10 * a_batch, 3)):
        kept = KeptPasses(ROWS, budget=budget)
        _, all_of_them = passes_made(
            model, lambda kept=kept: fit_eigenbasis(model, kept, params, batch_tokens=BATCH)
        )
        bases = fit_eigenbasis(model, ROWS, params, batch_tokens=BATCH)
        factors, made = passes_made(
            model, lambda kept=kept, bases=bases: fit_factors(model, kept, params, bases, batch_tokens=BATCH)
        )
        assert all_of_them - made == most
        assert torch.equal(
            factors["model.layers.0.mlp.up_proj"].eigenvalues,
            fit_factors(model, ROWS, params, bases, batch_tokens=BATCH)[
                "model.layers.0.mlp.up_proj"
            ].eigenvalues,
        )


def test_what_was_kept_of_other_weights_is_not_used():
    kept, params = KeptPasses(ROWS), FactorParams(fisher="empirical")
    model = tiny.llama()
    fit(model, kept, params)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.mul_(1.5)
    assert_same_eigenvalues(fit(model, kept, params), fit(model, ROWS, params))
    other = tiny.llama(seed=7)
    assert_same_eigenvalues(fit(other, kept, params), fit(other, ROWS, params))


def test_other_modules_and_other_labels_are_not_served_what_was_kept():
    model, kept = tiny.qwen2(), KeptPasses(ROWS)
    fit(model, kept, FactorParams(modules="mlp", seed=0))
    for params in (FactorParams(modules="attention", seed=0), FactorParams(modules="mlp", seed=1)):
        assert_same_eigenvalues(fit(model, kept, params), fit(model, ROWS, params))


def assert_same_eigenvalues(found, expected):
    for name, factors in expected.items():
        assert torch.equal(found[name].eigenvalues, factors.eigenvalues)


def test_a_stretch_is_a_layers_mlp_and_linear_maps_of_attention_by_what_they_are_fed():
    model = tiny.qwen2()
    with quiet(model):
        found = stretches(model, choose_blocks(model, "all"))
    layer = [
        tuple(name.removeprefix("model.layers.0.") for name in stretch.modules)
        for stretch in found
        if ".0." in stretch.modules[0]
    ]
    assert layer == [
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.o_proj",),
        ("mlp",),
    ]


class Doubled(nn.Module):
    """An MLP that is given two tensors."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + x


def test_a_model_changed_around_its_mlp_still_scores_alike():
    model, kept = tiny.llama(), KeptPasses(ROWS)
    model.model.layers[0].mlp = Doubled(model.model.layers[0].mlp)
    params = FactorParams(fisher="empirical")
    assert_same_eigenvalues(fit(model, kept, params), fit(model, ROWS, params))


def test_kept_passes_read_as_the_rows_they_are_of():
    kept = KeptPasses(iter(ROWS))
    assert list(kept) == ROWS
    assert len(kept) == len(ROWS)
    assert kept[1:3] == ROWS[1:3]
    frame = score_examples(
        tiny.qwen2(),
        precondition_queries(tiny.qwen2(), fit(tiny.qwen2(), ROWS, FactorParams()), GROUPS, POSITION),
        kept,
        POSITION,
    )
    assert frame["example_id"].to_list() == [row.example_id for row in ROWS]
    assert isinstance(frame, pl.DataFrame)
