"""Which modules are tracked, and what the hooks hand over."""

import pytest
import torch
from torch import nn

from infra_core.errors import DataError, RequestError
from infra_core.influence.blocks import blocks_shaped, choose_blocks
from infra_core.influence.labels import scored_targets
from infra_core.influence.logits import scored_logits
from infra_core.influence.passes import quiet
from infra_core.influence.tracking import by_layer, capture, track
from infra_core.lm.batching import collate, predicting
from infra_core.lm.objective import target_losses
from tests import tiny
from tests.oracles import loop


@pytest.mark.parametrize(
    ("choice", "a_layer"), [("mlp", 3), ("attention", 4), ("all", 7), ("up_proj|v_proj", 2)]
)
def test_a_choice_tracks_these_modules_of_every_layer_and_never_the_head(choice, a_layer):
    chosen = choose_blocks(tiny.qwen2(), choice)
    assert len(chosen) == 2 * a_layer
    assert "lm_head" not in chosen


@pytest.mark.parametrize("choice", ["nonesuch", "(", "lm_head"])
def test_a_choice_that_means_nothing_is_refused_with_what_there_is(choice):
    with pytest.raises(
        RequestError, match=r"modules='.*(model\.layers\.\*\.mlp\.up_proj|no regular expression)"
    ):
        choose_blocks(tiny.llama(), choice)


def test_modules_fed_with_the_same_tensor_share_a_leader():
    model = tiny.qwen2()
    leaders = track(model, choose_blocks(model, "all")).leaders
    first = {
        name.removeprefix("model.layers.0."): leader for name, leader in leaders.items() if ".0." in name
    }
    assert {name: leader.rpartition(".")[2] for name, leader in first.items()} == {
        "self_attn.q_proj": "q_proj",
        "self_attn.k_proj": "q_proj",
        "self_attn.v_proj": "q_proj",
        "self_attn.o_proj": "o_proj",
        "mlp.gate_proj": "gate_proj",
        "mlp.up_proj": "gate_proj",
        "mlp.down_proj": "down_proj",
    }


def test_modules_with_and_without_a_bias_do_not_share_activations():
    """A bias adds a column of ones to A."""
    model = tiny.llama()
    gate = model.model.layers[0].mlp.gate_proj
    gate.bias = nn.Parameter(torch.zeros(48))
    leaders = track(model, choose_blocks(model, "mlp")).leaders
    assert leaders["model.layers.0.mlp.up_proj"] == "model.layers.0.mlp.up_proj"
    assert leaders["model.layers.1.mlp.up_proj"] == "model.layers.1.mlp.gate_proj"


def test_a_module_that_is_never_called_is_refused_by_name():
    model = tiny.llama()
    model.model.layers[1].mlp.spare_proj = nn.Linear(3, 3)
    with pytest.raises(RequestError, match=r"layers\.1\.mlp\.spare_proj' is called 0 times .* no input"):
        track(model, choose_blocks(model, "mlp"))


def test_what_was_made_for_another_model_is_refused():
    model = tiny.llama()
    with pytest.raises(DataError, match="factors name module 'nowhere'"):
        blocks_shaped(model, {"nowhere": None}, "factors")
    with pytest.raises(DataError, match=r"factors of .*up_proj' are for a weight of \(7, 7\) .*\(48, 32\)"):
        blocks_shaped(model, {"model.layers.0.mlp.up_proj": (7, 7)}, "factors")


def captured_gradients(model, tracked, examples):
    """Each example's weight gradients, from one padded batch."""
    batch, found = collate(examples), {}
    positions = predicting(batch)

    def on_gradient(name, a, g):
        lengths = positions.sum(1).tolist()
        found[name] = [g_b.T @ a_b for g_b, a_b in zip(g.split(lengths), a.split(lengths), strict=True)]

    with quiet(model), capture(model, tracked, batch, lambda _leader, a, _at: a, on_gradient):
        target_losses(scored_logits(model, batch), scored_targets(batch)).sum().backward()
    return found


@pytest.mark.parametrize("make", [tiny.qwen2, tiny.llama])
def test_captured_gradients_are_those_of_autograd_for_every_example_of_a_padded_batch(make):
    model = make(dtype=torch.float64)
    examples = tiny.examples((9, 4, 7, 2))
    tracked = track(model, choose_blocks(model, "all"))
    found = captured_gradients(model, tracked, examples)
    for row, example in enumerate(examples):
        expected = loop.loss_gradients(model, list(tracked.blocks), example.ids, example.scored)
        for name, gradient in expected.items():
            assert gradient.shape == tracked.blocks[name].shape
            torch.testing.assert_close(found[name][row], gradient, rtol=1e-9, atol=1e-11)


def test_backward_stops_at_the_lowest_tracked_module_and_computes_no_weight_gradient():
    model, needed = tiny.llama(), {}

    def look(name):
        return lambda _m, _i, output: needed.update({name: output.requires_grad})

    model.model.layers[0].mlp.down_proj.register_forward_hook(look("below"))
    model.model.layers[1].post_attention_layernorm.register_forward_hook(look("just below"))
    tracked = track(model, choose_blocks(model, r"layers\.1\.mlp"))
    captured_gradients(model, tracked, tiny.examples())
    assert needed == {"below": False, "just below": False}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_is_given_back_as_it_was():
    model = tiny.llama().train()
    model.model.layers[0].eval()
    model.model.norm.weight.requires_grad_(False)
    before = [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]
    captured_gradients(model, track(model, choose_blocks(model, "all")), tiny.examples())
    assert before == ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_layers_are_the_names_up_to_their_first_number():
    chosen = choose_blocks(tiny.llama(), "mlp")
    assert {layer: len(found) for layer, found in by_layer(chosen).items()} == {
        "model.layers.0": 3,
        "model.layers.1": 3,
    }
