"""Rows laid end to end are computed as if each were alone, and nothing is computed for padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from infra_core.influence.logits import scored_logits
from infra_core.influence.packing import laid_out
from infra_core.influence.passes import quiet
from infra_core.lm.batching import collate
from tests import families, tiny

# A wrong position id or mask, or a neighbour attended to, moves logits by their own size. Plain attention
# takes its softmax in fp32 whatever the model's dtype.
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}
WINDOW = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}


def logits_of_each(model, examples):
    """Scored logits of every row, from one batch and from batches of their own."""
    with quiet(model), torch.no_grad():
        together = scored_logits(model, collate(examples))
        alone = [scored_logits(model, collate([example])) for example in examples]
    return together, torch.cat(alone)


def positions_run(model, examples):
    """How many positions the first MLP is given for one batch."""
    seen = []
    layer = next(module for name, module in model.named_modules() if name.endswith("mlp"))
    handle = layer.register_forward_hook(lambda _module, args, _out: seen.append(args[0].shape[:2].numel()))
    try:
        with quiet(model), torch.no_grad():
            batch = collate(examples)
            laid_out(model, batch, batch.ids)  # the first look at a model is two small rows of its own
            seen.clear()
            scored_logits(model, batch)
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_row_is_computed_as_if_it_were_alone(family):
    together, alone = logits_of_each(families.build(family), tiny.examples((9, 4, 7, 1, 2)))
    torch.testing.assert_close(together, alone, **ROUNDING)


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_packed_logits_are_those_of_padded_rows_under_plain_attention(lengths):
    examples = tiny.examples(tuple(lengths))
    packed, _ = logits_of_each(tiny.qwen2(dtype=torch.float64), examples)
    padded, _ = logits_of_each(tiny.qwen2(dtype=torch.float64, attn_implementation="eager"), examples)
    torch.testing.assert_close(packed, padded, **ROUNDING)


def test_nothing_is_computed_for_padding():
    examples = tiny.examples((9, 4, 7, 2))
    assert positions_run(tiny.llama(), examples) == [9 + 4 + 7 + 2]
    assert positions_run(tiny.llama(attn_implementation="eager"), examples) == [4 * 9]


def test_rows_longer_than_a_window_are_padded_because_they_need_a_mask():
    model = tiny.qwen2(dtype=torch.float64, **WINDOW)
    assert positions_run(model, tiny.examples((3, 4))) == [7]
    assert positions_run(model, tiny.examples((3, 5))) == [10]
    together, alone = logits_of_each(model, tiny.examples((3, 9, 6)))
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-11)


class Remembering(nn.Module):
    """Carries what it saw from position to position, as recurrent layers do."""

    def forward(self, x):
        return x + 0.1 * x.cumsum(dim=1)


def test_a_model_that_remembers_from_one_row_to_the_next_is_given_padded_rows():
    model = tiny.llama(dtype=torch.float64)
    layer = model.model.layers[1].mlp
    layer.down_proj = nn.Sequential(layer.down_proj, Remembering())
    examples = tiny.examples((9, 4, 7))
    together, alone = logits_of_each(model, examples)
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-11)
    assert positions_run(model, examples) == [27]


def test_the_model_is_given_back_as_it_was():
    model = tiny.qwen2()
    logits_of_each(model, tiny.examples((5, 3)))
    assert model.config._attn_implementation == "sdpa"
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(model(ids).logits, tiny.qwen2(attn_implementation="eager")(ids).logits)


def test_a_model_whose_attention_is_changed_later_is_run_as_it_says():
    model, examples = tiny.llama(), tiny.examples((9, 4))
    assert positions_run(model, examples) == [13]
    model.set_attn_implementation("eager")
    assert positions_run(model, examples) == [18]
