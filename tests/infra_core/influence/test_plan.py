"""Sizes from a config alone."""

import pytest
from transformers import Qwen2Config

from infra_core.influence import FactorParams, fit_factors
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.plan import factor_bytes, module_sizes
from tests import families, tiny


@pytest.mark.parametrize("widest", [None, 13])
def test_sizes_are_those_of_the_factors_that_are_then_fitted(widest):
    model = tiny.qwen2()
    sizes = module_sizes(model.config, "all", widest=widest)
    factors = fit_factors(model, tiny.examples(), FactorParams(modules="all", widest=widest))
    assert {size.name: (size.d_out, size.d_in) for size in sizes} == {
        name: tuple(one.eigenvalues.shape) for name, one in factors.items()
    }
    planned = factor_bytes(sizes)
    bases = {id(q): q.nbytes for one in factors.values() for q in (one.q_a, one.q_g)}
    assert planned.basis == sum(bases.values())
    assert planned.eigenvalues == sum(one.eigenvalues.nbytes for one in factors.values())


@pytest.mark.parametrize("family", [family for family in families.FAMILIES if family != "lora"])
def test_every_family_is_planned_from_its_config_with_the_blocks_it_will_have(family):
    """Nothing is sent to an expert on meta tensors, and still each has its factors."""
    model = families.build(family)
    sizes = module_sizes(model.config, "all")
    assert {size.name: (size.d_out, size.d_in) for size in sizes} == {
        name: block.shape for name, block in choose_blocks(model, "all").items()
    }


@pytest.mark.parametrize(
    ("modules", "widest", "covariance", "eigenvalues"),
    [("mlp", None, 123.5, 22.8), ("all", None, 129.3, 26.1), ("mlp", 4736, 33.0, 22.8)],
)
def test_a_7b_model_is_planned_without_its_weights(modules, widest, covariance, eigenvalues):
    """Figures in GB worked out by hand from the shapes of Qwen2.5-7B."""
    config = Qwen2Config(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
    )
    planned = factor_bytes(module_sizes(config, modules, widest=widest))
    assert round(planned.covariance / 1e9, 1) == covariance
    assert round(planned.eigenvalues / 1e9, 1) == eigenvalues
