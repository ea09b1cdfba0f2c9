"""A row too long for a batch is gone through layer by layer, with the same bits and a layer's activations."""

import pytest
import torch

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
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.labels import DATA
from infra_core.influence.layer_ranges import lone_layers
from infra_core.influence.passes import make_passes, passing, quiet, send_gradients
from infra_core.influence.tracking import track
from tests import families, tiny
from tests.infra_core.influence.test_partitions import assert_same_bits

LENGTH = 11
ROWS = tiny.examples((LENGTH,) * 4, seed=1)
ALONE_IN_A_BATCH, TOO_LONG = LENGTH, LENGTH - 1  # positions a batch: each row is one either way


@pytest.mark.parametrize("family", families.FAMILIES)
def test_factors_and_scores_are_the_same_to_the_bit_in_every_family(family):
    model, params = families.build(family), families.params_of(family, draws=2)
    groups, scoring = {"asked": ROWS[:2]}, ScoreParams(token_rule="position")
    whole, by_layer = (
        fit_factors(model, ROWS, params, batch_tokens=tokens) for tokens in (ALONE_IN_A_BATCH, TOO_LONG)
    )
    assert lone_layers(model, list(whole)) is not None
    assert_same_bits(by_layer, whole)
    scores = [
        attribute(model, whole, groups, ROWS, scoring, batch_tokens=tokens)
        for tokens in (ALONE_IN_A_BATCH, TOO_LONG)
    ]
    assert scores[0].equals(scores[1])


def test_indexes_and_norms_are_the_same_as_well():
    model = tiny.qwen2()
    factors = fit_factors(model, ROWS, FactorParams())
    whole, by_layer = (
        index_examples(model, factors, ROWS, IndexParams(coordinates=64), batch_tokens=tokens)
        for tokens in (ALONE_IN_A_BATCH, TOO_LONG)
    )
    assert torch.equal(whole.codes, by_layer.codes)
    assert torch.equal(whole.scales, by_layer.scales)
    norms = [
        self_influence(model, factors, ROWS, ScoreParams(token_rule="position"), batch_tokens=tokens)
        for tokens in (ALONE_IN_A_BATCH, TOO_LONG)
    ]
    assert norms[0].equals(norms[1])


@pytest.mark.parametrize("made_before", [False, True])
def test_some_layers_at_a_time_go_through_what_is_at_their_ends(made_before):
    model, params = tiny.qwen2(num_hidden_layers=4), FactorParams(draws=2)
    shelf, parts = {}, in_partitions(model, params, "fit_factors", None, at_least=2)
    rows = KeptPasses(ROWS, ranges=[part.modules for part in parts], shelf=shelf)
    if made_before:
        make_passes(model, rows, params, batch_tokens=TOO_LONG)
        rows = KeptPasses(ROWS, budget=0, ranges=[part.modules for part in parts], shelf=shelf)
    found = {}
    for part in parts:
        found |= fit_factors(model, rows, part, batch_tokens=TOO_LONG)
    assert len(shelf) == len(ROWS) * len(parts) * (1 + 2) + len(ROWS) * 2  # two ends, two draws; marks
    assert_same_bits(found, fit_factors(model, ROWS, params, batch_tokens=ALONE_IN_A_BATCH))


def test_a_model_whose_layers_look_past_each_other_is_passed_as_a_whole():
    model, params, seen = tiny.llama(num_hidden_layers=3), FactorParams(), []
    model.model.layers[1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.model.layers[2].register_forward_hook(lambda _, args, output: output + seen[-1])
    whole = fit_factors(model, ROWS, params, batch_tokens=ALONE_IN_A_BATCH)
    assert lone_layers(model, list(whole)) is None
    assert_same_bits(fit_factors(model, ROWS, params, batch_tokens=TOO_LONG), whole)


class Saved:
    """Counts the numbers that wait for a backward pass."""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, tensor):
        self.now += tensor.numel()
        self.most = max(self.most, self.now)
        return Waiting(tensor, self)


class Waiting:
    def __init__(self, tensor, saved):
        self.tensor, self.saved = tensor, saved

    def __del__(self):
        self.saved.now -= self.tensor.numel()


def waiting(layers, tokens):
    model, saved = tiny.qwen2(num_hidden_layers=layers), Saved()
    tracked = track(model, choose_blocks(model, "mlp"))
    lone_layers(model, list(tracked.blocks))  # tries them; not counted
    hooks = (lambda *_: None, lambda *_: None)
    with quiet(model), torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda each: each.tensor):
        [(batch, rows)] = passing(model, ROWS[:1], tokens, None)
        send_gradients(model, tracked, batch, rows, [DATA], hooks)
    return saved.most


def test_activations_of_one_layer_wait_at_a_time():
    assert waiting(6, TOO_LONG) < 1.2 * waiting(2, TOO_LONG)
    assert waiting(6, ALONE_IN_A_BATCH) > 2.5 * waiting(2, ALONE_IN_A_BATCH)
