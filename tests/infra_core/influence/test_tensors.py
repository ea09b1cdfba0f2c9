"""Bases, factors and blocks of an index survive the trip through safetensors, and share what they shared."""

import torch
from safetensors.torch import load, save

from infra_core.influence import (
    DiagonalFactors,
    FactorParams,
    IndexParams,
    bases_from_tensors,
    block_from_tensors,
    block_to_tensors,
    by_layer,
    factors_from_tensors,
    fit_eigenbasis,
    fit_factors,
    index_examples,
    index_layout,
    to_tensors,
)
from tests import tiny


def test_factors_and_bases_come_back_from_one_file_a_layer_and_share_what_they_shared():
    model, examples, params = tiny.qwen2(), tiny.examples(), FactorParams(modules="all")
    bases = fit_eigenbasis(model, examples, params)
    kept_bases, kept = {}, {}
    for layer in by_layer(bases).values():
        kept_bases |= bases_from_tensors(load(save(to_tensors(layer))))
    factors = fit_factors(model, examples, params, kept_bases)
    for layer in by_layer(factors).values():
        kept |= factors_from_tensors(load(save(to_tensors(layer))))
    assert {name: one.positions for name, one in kept_bases.items()} == {
        name: one.positions for name, one in bases.items()
    }
    assert kept.keys() == factors.keys() == bases.keys()
    for name, one in factors.items():
        assert torch.equal(kept[name].eigenvalues, one.eigenvalues)
        assert torch.equal(kept[name].q_a, bases[name].q_a)
        assert torch.equal(kept[name].q_g, bases[name].q_g)
        assert kept[name].n_sequences == len(examples)
    attention = "model.layers.0.self_attn."
    assert kept[attention + "q_proj"].q_a is kept[attention + "v_proj"].q_a


def test_identity_factors_come_back():
    factors = fit_factors(tiny.llama(), [], FactorParams(curvature="identity"))
    assert factors_from_tensors(load(save(to_tensors(factors)))) == factors


def test_diagonal_factors_come_back():
    factors = fit_factors(tiny.llama(), tiny.examples(), FactorParams(curvature="diagonal"))
    kept = factors_from_tensors(load(save(to_tensors(factors))))
    assert all(torch.equal(kept[name].eigenvalues, one.eigenvalues) for name, one in factors.items())
    assert all(isinstance(one, DiagonalFactors) for one in kept.values())


def test_a_block_of_an_index_comes_back_with_its_columns_in_any_order():
    """Columns of some layers each, laid out in turns, are those of all layers at once."""
    model, examples, params = tiny.qwen2(), tiny.examples(), IndexParams(coordinates=40, level="span")
    factors = fit_factors(model, examples, FactorParams())
    block, layout = index_examples(model, factors, examples, params), index_layout(factors, params)
    whole = load(save(block_to_tensors(block, layout.columns)))
    turns = {}
    for layer in reversed(by_layer(factors).values()):
        some = index_examples(model, layer, examples, params)
        turns |= block_to_tensors(some, index_layout(layer, params).columns)
    assert save(turns) == save(whole)
    back = block_from_tensors(whole, layout.columns)
    assert (back.example_ids, back.spans) == (block.example_ids, block.spans)
    for field in ("codes", "scales"):
        assert torch.equal(getattr(back, field), getattr(block, field))
    names = list(reversed(layout.columns))
    turned = block_from_tensors(whole, names)
    assert torch.equal(turned.scales, back.scales.flip(1))
