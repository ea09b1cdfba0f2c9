"""A model whose layers wait on the host gives the same bits, with the weights of one layer where it runs."""

import weakref
from copy import deepcopy

import pytest
import torch
from torch import nn

from infra_core.influence import (
    FactorParams,
    IndexParams,
    KeptPasses,
    ScoreParams,
    attribute,
    fit_factors,
    in_partitions,
    index_examples,
    self_influence,
)
from infra_core.influence.layer_ranges import lone_layers
from infra_core.lm.on_host import is_on_host, leave_on_host
from tests import families, tiny
from tests.infra_core.influence.test_partitions import assert_same_bits

ROWS = tiny.examples((11, 9, 11, 7), seed=1)
SEVERAL = 25  # positions a batch: two rows
GROUPS = {"asked": ROWS[:2], "also": ROWS[2:]}


def on_host(model):
    """A copy of it, which runs where it is."""
    return leave_on_host(deepcopy(model), "cpu")


@pytest.mark.parametrize("family", families.FAMILIES)
def test_factors_and_scores_are_the_same_to_the_bit_in_every_family(family):
    whole, params = families.build(family), families.params_of(family, draws=2)
    apart = on_host(whole)
    factors = fit_factors(whole, ROWS, params, batch_tokens=SEVERAL)
    assert_same_bits(fit_factors(apart, ROWS, params, batch_tokens=SEVERAL), factors)
    assert lone_layers(apart, list(factors)) is not None  # it was not passed as a whole
    for rule in ("position", "loss_term"):
        scoring = ScoreParams(token_rule=rule)
        given, found = (
            attribute(model, factors, GROUPS, ROWS, scoring, batch_tokens=SEVERAL) for model in (whole, apart)
        )
        assert found.equals(given), rule


def test_indexes_norms_and_fits_of_some_layers_are_as_well():
    whole = tiny.qwen2(num_hidden_layers=4)
    apart, params = on_host(whole), FactorParams(draws=2)
    parts = in_partitions(apart, params, "fit_factors", None, at_least=2)
    rows, found = KeptPasses(ROWS, ranges=[part.modules for part in parts]), {}
    for part in parts:
        found |= fit_factors(apart, rows, part, batch_tokens=SEVERAL)
    factors = fit_factors(whole, ROWS, params, batch_tokens=SEVERAL)
    assert_same_bits(found, factors)
    given, told = (
        index_examples(model, factors, ROWS, IndexParams(coordinates=64), batch_tokens=SEVERAL)
        for model in (whole, apart)
    )
    assert torch.equal(told.codes, given.codes)
    norms = [
        self_influence(model, factors, ROWS, ScoreParams(token_rule="position"), batch_tokens=SEVERAL)
        for model in (whole, apart)
    ]
    assert norms[0].equals(norms[1])


def copied_at_once(model, work):
    """The most layers of which copies exist while `work` goes on."""
    alive, most = weakref.WeakSet(), [0]

    def look(module, _args):
        alive.add(module.weight)
        most[0] = max(most[0], len(alive))

    for layer in model.model.layers:
        layer.mlp.down_proj.register_forward_pre_hook(look)
    work()
    return most[0]


@pytest.mark.parametrize("rule", ["position", "loss_term"])
def test_weights_of_one_layer_are_there_at_a_time(rule):
    model = on_host(tiny.qwen2(num_hidden_layers=5))

    def work():
        factors = fit_factors(model, ROWS, FactorParams(), batch_tokens=SEVERAL)
        attribute(model, factors, GROUPS, ROWS, ScoreParams(token_rule=rule), batch_tokens=SEVERAL)

    assert copied_at_once(model, work) == 1


def test_a_backward_pass_through_all_of_it_holds_all_weights():
    model = on_host(tiny.qwen2(num_hidden_layers=5)).requires_grad_(False)
    states = torch.ones(1, 3, model.config.hidden_size, dtype=model.dtype, requires_grad=True)
    assert copied_at_once(model, lambda: model(inputs_embeds=states).logits.sum().backward()) == 5


def test_what_is_no_layer_moves():
    model, whole = leave_on_host(tiny.qwen2(), "meta"), tiny.qwen2()
    moved = {name for name, weight in model.named_parameters() if weight.is_meta}
    assert moved == {name for name, _ in whole.named_parameters() if ".layers." not in name}
    assert list(model.state_dict()) == list(whole.state_dict())
    assert is_on_host(model)
    assert not is_on_host(whole)


def test_a_copy_has_weights_of_its_own():
    model = on_host(tiny.qwen2())
    ids = torch.ones(1, 3, dtype=torch.int64)
    before, copied = model(ids).logits, deepcopy(model)
    for weight in copied.model.layers.parameters():
        weight.data.zero_()
    assert is_on_host(copied)
    assert not torch.equal(copied(ids).logits, before)
    assert torch.equal(model(ids).logits, before)


def test_passes_that_are_not_kept_by_layers_are_not_kept():
    """An MLP alone would find no weights where its input is."""
    whole = tiny.qwen2()
    apart, rows = on_host(whole), KeptPasses(ROWS)
    found = fit_factors(apart, rows, FactorParams(), batch_tokens=SEVERAL)
    assert_same_bits(found, fit_factors(whole, ROWS, FactorParams(), batch_tokens=SEVERAL))
    assert not rows.watched()


def test_a_model_without_layers_is_told():
    with pytest.raises(ValueError, match="no list of layers"):
        leave_on_host(nn.Linear(2, 2), "cpu")
