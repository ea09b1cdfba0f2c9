"""Layers fitted some at a time give the factors of all at once, in about two passes however many times."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.influence import FactorParams, KeptPasses, fit_eigenbasis, fit_factors, in_partitions
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.passes import make_passes, quiet
from infra_core.influence.plan import FITTING, ModuleSize, need_of, partitions
from tests import families, tiny

ROWS = tiny.examples((12, 7, 9, 5, 11), seed=1)
BATCH = 24
ALONE = 1  # byte: every layer is a partition of its own


def in_parts(model, params, room=ALONE, **keeping):
    """Fit both stages some layers at a time, as the tasks do."""
    parts = in_partitions(model, params, "fit_factors", room)
    rows = KeptPasses(ROWS, ranges=[part.modules for part in parts], **keeping)
    bases, factors = {}, {}
    for part in parts:
        bases |= fit_eigenbasis(model, rows, part, batch_tokens=BATCH)
    for part in parts:
        own = {name: bases[name] for name in choose_blocks(model, part.modules, part.widest)}
        factors |= fit_factors(model, rows, part, own, batch_tokens=BATCH)
    return parts, factors


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, factors in expected.items():
        for field in ("q_a", "q_g", "eigenvalues"):
            assert torch.equal(getattr(found[name], field), getattr(factors, field)), (name, field)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_factors_fitted_layer_by_layer_are_the_same_to_the_bit_in_every_family(family):
    model = families.build(family)
    params = families.params_of(family, draws=2)
    parts, found = in_parts(model, params)
    assert len(parts) == 2
    assert_same_bits(found, fit_factors(model, ROWS, params, batch_tokens=BATCH))


@pytest.mark.parametrize("workers", [1, 2])
def test_factors_of_blocks_that_are_cut_are_the_same_to_the_bit_layer_by_layer(workers):
    model, params = families.build("llama"), FactorParams(modules="mlp", widest=16)
    whole = fit_factors(model, ROWS, params, batch_tokens=BATCH)
    parts, found = in_parts(model, params) if workers == 1 else by_several("llama", params, workers)
    assert len(parts) == 2
    assert_same_bits(found, whole)


class Layers:
    """Counts how often layers do their work with gradients on, in layers of the model."""

    def __init__(self, model):
        self.calls = 0
        for layer in model.model.layers:
            layer.mlp.register_forward_hook(lambda *_: self.count())

    def count(self):
        self.calls += torch.is_grad_enabled()


@pytest.mark.parametrize("layers", [3, 6])
def test_however_many_partitions_there_are_the_layers_are_run_about_twice_a_stage(layers):
    """Once through the model, and once range by range for all but the first range."""
    model, params = tiny.qwen2(num_hidden_layers=layers), FactorParams()
    ran = Layers(model)
    fit_eigenbasis(model, ROWS, params, batch_tokens=BATCH)
    once, ran.calls = ran.calls, 0
    parts = in_partitions(model, params, "fit_eigenbasis", ALONE)
    rows = KeptPasses(ROWS, ranges=[part.modules for part in parts])
    for part in parts:
        fit_eigenbasis(model, rows, part, batch_tokens=BATCH)
    assert len(parts) == layers
    assert ran.calls * layers == once * (2 * layers - 1)


def test_what_is_put_on_a_shelf_comes_back_from_there():
    model, params, shelf = tiny.llama(), FactorParams(), {}
    _, found = in_parts(model, params, shelf=shelf)
    assert_same_bits(found, fit_factors(model, ROWS, params, batch_tokens=BATCH))
    width = model.config.hidden_size
    tokens = sum(map(len, ROWS))
    assert (
        sum(tensor.numel() for tensor in shelf.values()) == 2 * 2 * width * tokens
    )  # two ends of two ranges


def by_several(family, params, workers):
    """Fit as so many workers do who share nothing but a shelf, each with a model of its own."""
    shelf, found = {}, {}
    turns = in_partitions(families.build(family), params, "fit_factors", None, at_least=workers)
    ranges = [turn.modules for turn in turns]
    for number in range(workers):
        rows = KeptPasses(ROWS, ranges=ranges, shelf=shelf)
        make_passes(families.build(family), rows, params, (number, workers), batch_tokens=BATCH)
    for turn in turns:
        rows = KeptPasses(ROWS, budget=0, ranges=[turn.modules], shelf=shelf)
        found |= fit_factors(families.build(family), rows, turn, batch_tokens=BATCH)
    return turns, found


@pytest.mark.parametrize("family", families.FAMILIES)
def test_workers_who_divide_rows_and_then_layers_fit_what_one_fits_to_the_bit(family):
    params = families.params_of(family, draws=2)
    turns, found = by_several(family, params, workers=2)
    assert len(turns) == 2
    assert_same_bits(found, fit_factors(families.build(family), ROWS, params, batch_tokens=BATCH))


def test_passes_that_workers_made_are_not_made_again():
    """The layers of each range are run once more, over all rows, and no others with gradients."""
    model, params, shelf = tiny.qwen2(num_hidden_layers=4), FactorParams(), {}
    ran = Layers(model)
    fit_eigenbasis(model, ROWS, params, batch_tokens=BATCH)
    once, ran.calls = ran.calls, 0
    turns = in_partitions(model, params, "fit_eigenbasis", None, at_least=2)
    for number in range(2):
        kept = KeptPasses(ROWS, ranges=[turn.modules for turn in turns], shelf=shelf)
        make_passes(model, kept, params, (number, 2), batch_tokens=BATCH)
    assert ran.calls == once
    for turn in turns:
        kept = KeptPasses(ROWS, budget=0, ranges=[turn.modules], shelf=shelf)
        fit_eigenbasis(model, kept, turn, batch_tokens=BATCH)
    assert ran.calls == 2 * once


@pytest.mark.parametrize("budget", [0, 4 * 2 * 2 * 32 * (BATCH + 1)])
def test_rows_that_are_not_kept_are_passed_through_the_whole_model_for_each_partition(budget):
    model, params = tiny.qwen2(), FactorParams(modules="all")
    _, found = in_parts(model, params, budget=budget)
    assert_same_bits(found, fit_factors(model, ROWS, params, batch_tokens=BATCH))


def test_a_model_whose_layers_look_past_each_other_is_run_as_a_whole():
    """A layer that adds what the first one was given cannot be run again from what it is given itself."""
    model, params = tiny.llama(num_hidden_layers=3), FactorParams()
    seen = []
    model.model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.model.layers[2].register_forward_hook(lambda _, args, output: output + seen[-1])
    with quiet(model):
        parts, found = in_parts(model, params)
    assert len(parts) == 3
    assert_same_bits(found, fit_factors(model, ROWS, params, batch_tokens=BATCH))


sizes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=8).map(
    lambda shapes: [
        ModuleSize(f"layers.{n // 2}.{'ud'[n % 2]}", *shape, f"layers.{n // 2}.{'ud'[n % 2]}")
        for n, shape in enumerate(shapes)
    ]
)


@given(sizes, st.sampled_from([*FITTING, "score"]), st.integers(1, 20_000), st.sampled_from([0, 3000]))
@settings(max_examples=60)
def test_partitions_hold_every_block_once_in_whole_layers_and_none_more_than_there_is_room_for(
    blocks, stage, room, passing
):
    need = need_of(stage, passing=passing)
    groups = partitions(blocks, need, room)
    assert list(itertools.chain(*reversed(groups))) == blocks
    for group in groups:
        layers = {size.name.rpartition(".")[0] for size in group}
        assert need.of(group) <= room or len(layers) == 1
        assert {s.name for s in blocks if s.name.rpartition(".")[0] in layers} == {s.name for s in group}
    for one, other in itertools.pairwise(groups):  # none could have taken the next one's first layer as well
        following = [s for s in other if s.name.rpartition(".")[0] == other[-1].name.rpartition(".")[0]]
        assert need.of([*following, *one]) > room


@given(sizes, st.integers(1, 20_000) | st.none(), st.integers(1, 5))
@settings(max_examples=60)
def test_there_are_as_many_partitions_as_devices_and_each_has_room(blocks, room, devices):
    need = need_of("fit_factors")
    groups = partitions(blocks, need, room, devices)
    layers = {size.name.rpartition(".")[0] for size in blocks}
    assert len(groups) >= min(devices, len(layers))
    assert list(itertools.chain(*reversed(groups))) == blocks
    for group in groups:
        alone = len({size.name.rpartition(".")[0] for size in group}) == 1
        assert alone or room is None or need.of(group) <= room
