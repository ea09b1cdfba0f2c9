"""Sizes from a config alone."""

import pytest
from transformers import Qwen2Config

from infra_core.influence import FactorParams, fit_factors
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.plan import factor_bytes, module_sizes
from tests import families, tiny


def test_sizes_are_those_of_the_factors_that_are_then_fitted():
    model = tiny.qwen2()
    sizes = module_sizes(model.config, "all")
    factors = fit_factors(model, tiny.examples(), FactorParams(modules="all"))
    assert {size.name: (size.d_out, size.d_in) for size in sizes} == {
        name: tuple(one.eigenvalues.shape) for name, one in factors.items()
    }
    planned = factor_bytes(sizes)
    bases = {id(one.q_a): one.q_a.nbytes for one in factors.values()}
    assert planned.basis == sum(bases.values()) + sum(one.q_g.nbytes for one in factors.values())
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
    ("modules", "covariance", "eigenvalues"), [("mlp", 123.5, 22.8), ("all", 129.3, 26.1)]
)
def test_a_7b_model_is_planned_without_its_weights(modules, covariance, eigenvalues):
    """Figures in GB worked out by hand from the shapes of Qwen2.5-7B."""
    config = Qwen2Config(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
    )
    planned = factor_bytes(module_sizes(config, modules))
    assert round(planned.covariance / 1e9, 1) == covariance
    assert round(planned.eigenvalues / 1e9, 1) == eigenvalues
