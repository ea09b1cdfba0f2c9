"""Which linear maps of which families get factors, and that their gradients are autograd's."""

import pytest
import torch

from infra_core.errors import DataError
from infra_core.influence import FactorParams, ScoreParams, attribute, fit_factors
from infra_core.influence.blocks import (
    blocks_of,
    blocks_shaped,
    choose_blocks,
    weight_tangents,
    whole_of,
)
from infra_core.influence.labels import scored_targets
from infra_core.influence.logits import scored_logits
from infra_core.influence.passes import quiet
from infra_core.influence.query import precondition_queries
from infra_core.influence.tracking import capture, track
from infra_core.lm.batching import collate
from infra_core.lm.objective import target_losses
from tests import families, tiny
from tests.oracles import loop

A_LAYER = {
    "qwen2": 7,
    "qwen3": 7,
    "llama": 7,
    "mistral": 7,
    "gemma2": 7,
    "phi": 6,  # q, k, v, dense; fc1, fc2
    "phi3": 7,  # of 4 modules, two of them fused
    "gpt2": 6,  # q, k, v of one Conv1D, its projection; c_fc, c_proj
    "mixtral": 4 + 4 * 3,
    "qwen3_moe": 4 + 4 * 3,
    "olmoe": 4 + 4 * 3,
}

WIDEST = 20  # which divides none of the widths


def choice(family):
    return "lora" if family == "lora" else "all"


@pytest.mark.parametrize(("family", "a_layer"), A_LAYER.items())
def test_fused_projections_are_split_and_experts_are_told_apart(family, a_layer):
    assert len(choose_blocks(families.build(family), "all")) == 2 * a_layer


def test_adapters_are_tracked_by_name_and_never_by_a_choice_of_modules():
    model = families.build("lora")
    assert len(choose_blocks(model, "lora")) == 2 * 3 * 2
    assert not any("lora_" in name for name in choose_blocks(model, "all"))
    assert len(choose_blocks(model, "all")) == 2 * 7


def by_parameter(model, blocks, gradients):
    """Put the gradients of blocks where their parameters have them; each entry must be told exactly once."""
    found = {}
    for name, block in blocks.items():
        for parameter, tangent in weight_tangents(model, {name: block}, {name: gradients[name]}).items():
            told = (found[parameter] != 0) & (tangent != 0) if parameter in found else torch.zeros(())
            assert not told.any()
            found[parameter] = found.get(parameter, 0) + tangent
    return found


CUT = [(family, WIDEST) for family in ("qwen2", "phi3", "gpt2", "mixtral", "lora")]


@pytest.mark.parametrize(("family", "widest"), [*((family, None) for family in families.FAMILIES), *CUT])
def test_captured_gradients_are_those_of_autograd_in_every_family_whole_or_cut(family, widest):
    """Of a padded batch, by parameter: a wrong split, expert, transposition or bias shows as its own size."""
    model, examples = families.build(family), tiny.examples((9, 4, 7))
    tracked = track(model, choose_blocks(model, choice(family), widest))
    batch = collate(examples)
    found = {}
    with (
        quiet(model),
        capture(
            model,
            tracked,
            batch,
            lambda _leader, a, _at: a,
            lambda name, a, g: found.update({name: g.mT @ a}),
        ),
    ):
        target_losses(scored_logits(model, batch), scored_targets(batch)).sum().backward()
    # An expert that no token was sent to has no gradient.
    gradients = {
        name: found.get(name, torch.zeros(block.shape, dtype=torch.float64))
        for name, block in tracked.blocks.items()
    }
    total = by_parameter(model, tracked.blocks, gradients)
    loss = sum(loop.token_nll(model, row.ids, row.scored).sum() for row in examples)
    parameters = dict(model.named_parameters())
    expected = torch.autograd.grad(loss, [parameters[name].requires_grad_() for name in total])
    for name, gradient in zip(total, expected, strict=True):
        assert gradient.any(), name
        atol = 1e-6 * float(gradient.abs().max())  # some softmax inside is fp32 whatever it gets
        torch.testing.assert_close(total[name], gradient, rtol=1e-6, atol=atol)


def test_what_is_cut_is_no_wider_than_asked_and_known_by_its_name():
    model = families.build("gpt2")
    blocks = choose_blocks(model, "all", WIDEST)
    assert all(d_out <= WIDEST and d_in <= WIDEST + 1 for d_out, d_in in (b.shape for b in blocks.values()))
    assert {whole_of(name) for name in blocks} == set(choose_blocks(model, "all"))
    shapes = {name: block.shape for name, block in blocks.items()}
    again = blocks_shaped(model, shapes, "factors")
    assert [(b.outputs, b.inputs, b.bias) for b in again.values()] == [
        (b.outputs, b.inputs, b.bias) for b in blocks.values()
    ]
    assert choose_blocks(model, "all", 1000).keys() == choose_blocks(model, "all").keys()
    with pytest.raises(DataError, match=r"mlp\.c_fc\.r7of7', which this model lacks"):
        blocks_shaped(model, {"transformer.h.0.mlp.c_fc.r7of7": None}, "factors")


@pytest.mark.parametrize("family", families.FAMILIES)
def test_both_token_rules_sum_to_the_same_influence_in_every_family(family):
    """One comes of hooks, the other moves the weights: they share no mistake."""
    model, examples = families.build(family), tiny.examples((9, 4, 7, 12))
    factors = fit_factors(model, examples, FactorParams(modules=choice(family), fisher="empirical"))
    groups = {"one": examples[:2], "two": examples[2:]}
    by_rule = [
        attribute(model, factors, groups, examples, ScoreParams(token_rule=rule))["influence"].to_numpy()
        for rule in ("position", "loss_term")
    ]
    assert abs(by_rule[0]).min() > 1e-9
    assert by_rule[0] == pytest.approx(by_rule[1], rel=1e-5)


@pytest.mark.parametrize("family", ["mixtral", "gpt2"])
def test_influence_does_not_depend_on_what_shares_the_batch_where_tokens_are_routed(family):
    model, examples = families.build(family), tiny.examples((9, 4, 7, 12, 5))
    params = FactorParams(modules="all", fisher="sampled")
    together, alone = (
        attribute(
            model,
            fit_factors(model, examples, params, batch_tokens=budget),
            {"queries": examples[:1]},
            examples,
            ScoreParams(token_rule="position"),
            batch_tokens=budget,
        )["influence"].to_numpy()
        for budget in (1000, 1)
    )
    assert together == pytest.approx(alone, rel=1e-5)


def test_an_expert_that_sees_no_token_has_no_influence_and_breaks_nothing():
    model, examples = families.build("mixtral"), tiny.examples((3,))
    factors = fit_factors(model, examples, FactorParams(modules="experts", fisher="empirical"))
    asked = precondition_queries(model, factors, {"q": examples}, ScoreParams(token_rule="position"))
    idle = [name for name, each in factors.items() if not each.eigenvalues.any()]
    assert idle  # three tokens cannot visit every expert of two layers twice over
    assert not any(asked.directions[name].any() for name in idle)


def test_every_block_of_a_model_has_a_name_of_its_own():
    for family in families.FAMILIES:
        blocks = blocks_of(families.build(family))
        assert all(name == block.name for name, block in blocks.items())
