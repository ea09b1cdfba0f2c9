"""Embeddings: later positions count more, companions in a batch do not count at all."""

import pytest
import torch

from infra_core.lm.embedding import embed
from tests import tiny


def test_it_is_the_weighted_mean_of_last_hidden_states_of_length_one():
    """Written out for a single row: weights 1, 2, …, T."""
    model, [row] = tiny.qwen2(), tiny.examples((9,))
    states = model.base_model(input_ids=row.ids[None]).last_hidden_state[0]
    mean = (states * torch.arange(1, 10)[:, None]).sum(dim=0)
    torch.testing.assert_close(embed(model, [row])[0], (mean / mean.norm()).detach(), rtol=1e-5, atol=1e-6)


def test_a_row_is_embedded_alike_alone_and_in_company():
    model, rows = tiny.qwen2(), tiny.examples((12, 7, 30, 5))
    together = embed(model, rows, batch_tokens=10_000)
    alone = torch.cat([embed(model, [row]) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)  # sums in another order


def test_nearest_to_a_row_is_its_own_copy():
    model, rows = tiny.qwen2(), tiny.examples((12, 7, 30, 5))
    cosines = embed(model, rows) @ embed(model, rows).T
    assert cosines.argmax(dim=1).tolist() == [0, 1, 2, 3]
    assert cosines.diagonal().tolist() == pytest.approx([1.0] * 4, abs=1e-5)


def test_no_rows_are_no_vectors():
    assert embed(tiny.qwen2(), []).shape == (0, 32)
