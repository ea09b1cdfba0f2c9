"""One more step: the model comes back as it was, and rows that are the query itself help it most."""

import numpy as np
import polars as pl
import pytest
import torch

from infra_core.evaluation.likelihood import likelihoods
from infra_core.validity.tail_patch import PATCHED, judge_patches, tail_patch
from tests import tiny

EXAMPLES, QUERIES = tiny.examples((12, 7, 9, 5)), tiny.examples((8, 6), seed=3)
HOW = {"rows": 1, "learning_rate": 1e-3, "batch_tokens": 40}


@pytest.fixture
def model():
    return tiny.qwen2()


def test_a_step_on_a_query_makes_it_likelier_and_leaves_the_model_as_it_was(model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    gains = tail_patch(model, [*EXAMPLES, *QUERIES], QUERIES, np.eye(6, 2, k=-4), **HOW)
    assert min(gains) > 0
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)


def test_the_gain_is_what_torchs_adam_on_the_mean_loss_brings(model):
    """Two rows in one step, whatever batches they are in."""
    scores = np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0], [0.0, 0.0]])
    gains = tail_patch(model, EXAMPLES, QUERIES, scores, rows=2, learning_rate=1e-3, batch_tokens=1)
    before = [each.nll for each in likelihoods(model, QUERIES)]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses, scored = [], 0
    for row in (EXAMPLES[0], EXAMPLES[2]):
        logs = model(input_ids=row.ids[None]).logits[0, :-1].log_softmax(-1)
        losses.append(-logs.gather(1, row.ids[1:, None])[:, 0][row.scored[1:]].sum())
        scored += int(row.scored.sum())
    (torch.stack(losses).sum() / scored).backward()
    optimiser.step()
    after = [each.nll for each in likelihoods(model, QUERIES)]
    assert gains == pytest.approx([one - other for one, other in zip(before, after, strict=True)], abs=1e-3)


def test_methods_are_held_against_random_rows_query_by_query():
    def table(gains):
        told = {"query_id": ["a", "b", "c"], "group": ["math/correct"] * 2 + ["code/correct"], "gain": gains}
        return pl.DataFrame(told, schema=pl.Schema(PATCHED))

    tables = {"ours": table([2.0, 3.0, 1.0]), "random": table([1.0, 2.0, 1.5])}
    found = {(each.method, each.group): each for each in judge_patches(tables, 0)}
    assert found["ours", "math/correct"].gain.value == pytest.approx(2.5)
    assert found["ours", "math/correct"].beside_random.interval.value == pytest.approx(1.0)
    assert found["ours", "code/correct"].beside_random.interval.value == pytest.approx(-0.5)
    assert found["random", "math/correct"].beside_random is None
