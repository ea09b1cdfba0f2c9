"""The probe sees what moves gradients with the batch, and nothing where nothing does."""

import pytest
import torch

from infra_core.influence.probe import probe_batches
from tests import families, tiny

ROWS = tiny.examples((9, 14, 5, 20, 7))


@pytest.mark.parametrize("family", ["qwen2", "gpt2", "mixtral"])
def test_in_fp32_a_row_does_not_feel_its_companions(family):
    found = probe_batches(families.build(family).float(), ROWS, "all")
    assert found.rows == 4
    assert found.difference < 1e-5
    assert not found.notable


def test_a_model_whose_attention_looks_across_rows_is_noticed():
    """A module that mixes the rows of a batch: what a wrong mask or a batch-dependent kernel would do."""

    class Mixing(torch.nn.Module):
        def forward(self, x):
            return x + 0.05 * x.mean(dim=0, keepdim=True)

    model = tiny.llama()
    layer = model.model.layers[1].mlp
    layer.down_proj = torch.nn.Sequential(layer.down_proj, Mixing())
    found = probe_batches(model.eval(), ROWS, r"layers\.0\.mlp")
    assert found.notable
    assert "float32" in str(found)


def test_padded_rows_feel_their_companions_in_bf16_and_rows_laid_end_to_end_do_not():
    """Rows longer than what attention looks back over need a mask, and are padded for it."""
    windowed = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
    padded = probe_batches(tiny.qwen2(**windowed).bfloat16(), ROWS, "mlp")
    packed = probe_batches(tiny.qwen2().bfloat16(), ROWS, "mlp")
    assert packed.difference < 1e-6 < padded.difference < 1
    assert (padded.dtype, padded.attention) == ("bfloat16", "sdpa")
    assert padded.notable


def test_rows_without_a_gradient_say_nothing():
    assert probe_batches(tiny.llama(), tiny.examples((1,)), "mlp").difference == 0.0


def test_only_rows_that_a_batch_holds_together_are_compared():
    found = probe_batches(tiny.llama(), ROWS, "mlp", batch_tokens=20)
    assert found.rows == 2  # those of 9 and 5 tokens
    assert probe_batches(tiny.llama(), ROWS, "mlp", batch_tokens=9).rows == 0
