"""Work counted from a shape is the work that torch counts."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from infra_core.planning.work import BACKWARD, FORWARD, Machine, Shape, Work
from tests.tiny import VOCABULARY, qwen2

ROWS, LENGTH = 3, 16


class Calls(TorchDispatchMode):
    """Counts the operations that are started."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, operation, _types, args=(), kwargs=None):
        self.number += 1
        return operation(*args, **(kwargs or {}))


def loss_of(model):
    ids = torch.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % VOCABULARY
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, use_cache=False).loss


def alike(**changes):
    """As many key-value heads as heads: the counts are of a model that repeats none."""
    return qwen2(num_key_value_heads=4, attn_implementation="eager", **changes)


@pytest.mark.parametrize("tied", [False, True])
def test_multiply_adds_are_those_that_torch_counts(tied):
    """Biases, norms and the tied head's table are weights, but the first two multiply nothing: 5 %."""
    model = alike(tie_word_embeddings=tied)
    shape = Shape.of(model.config)
    with FlopCounterMode(display=False) as forward:
        loss = loss_of(model)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    positions = ROWS * LENGTH
    assert shape.forward(positions, LENGTH, 1).flops == pytest.approx(forward.get_total_flops(), rel=0.05)
    counted = shape.backward(positions, LENGTH, 1, of_weights=True).flops
    assert counted == pytest.approx(backward.get_total_flops(), rel=0.05)


def test_operations_a_layer_are_those_that_torch_starts():
    """Within a quarter: with each release of transformers a few come and go."""
    counts = []
    for layers in (2, 3):
        model = qwen2(num_key_value_heads=4, num_hidden_layers=layers)
        with Calls() as forward:
            loss = loss_of(model)
        with Calls() as backward:
            loss.backward()
        counts.append((forward.number, backward.number))
    (before, going_back), (after, gone_back) = counts
    assert after - before == pytest.approx(FORWARD.layer, rel=0.25)
    assert gone_back - going_back == pytest.approx(BACKWARD.layer, rel=0.25)


def test_work_is_divided_between_devices():
    machine = Machine(1, 2, flops=10.0, number_seconds=0.5, call_seconds=0.25, basis="made up")
    work = Work(flops=100.0, numbers=8.0, calls=4.0)
    assert work.seconds(machine) == (10 + 4 + 1) / 2
    assert (work + work).seconds(machine) == (work * 2).seconds(machine) == 15
