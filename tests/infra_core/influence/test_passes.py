"""Batches that are checked, logits only where scored, labels that are an example's own."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError
from infra_core.influence.labels import sample_labels
from infra_core.influence.logits import scored_logits
from infra_core.influence.passes import fitting_rows, passing
from infra_core.lm.batching import collate, predicting
from infra_core.recipe import FactorParams
from tests import tiny


def test_only_positions_that_predict_a_token_count():
    """0..T-2 of every row; the last position and the padding predict nothing."""
    batch = collate(tiny.examples((4, 2, 1)))
    assert predicting(batch).tolist() == [[True] * 3 + [False], [True] + [False] * 3, [False] * 4]


def test_scored_logits_are_those_the_whole_model_gives_there():
    model, batch = tiny.qwen2(), collate(tiny.examples())
    whole = model(input_ids=batch.ids, attention_mask=batch.attention_mask.long()).logits
    torch.testing.assert_close(scored_logits(model, batch), whole[:, :-1][batch.scored[:, 1:]])


def test_a_row_longer_than_the_context_is_named():
    model = tiny.llama(max_position_embeddings=8)
    example = dataclasses.replace(tiny.examples((9,))[0], example_id="too-long")
    with pytest.raises(DataError, match="example too-long has 9 tokens but the model's context is 8"):
        list(passing(model, [example], 100, None))


def test_a_row_without_tokens_is_named():
    empty = TokenizedExample(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool), (), "void")
    with pytest.raises(DataError, match="example void has no tokens"):
        list(passing(tiny.llama(), [empty], 100, None))


def test_progress_ends_at_the_total_and_has_no_total_for_a_stream():
    told = []
    examples = tiny.examples((5, 6, 7))
    list(passing(tiny.llama(), examples, 7, lambda done, total: told.append((done, total))))
    list(passing(tiny.llama(), iter(examples), 100, lambda done, total: told.append((done, total))))
    assert told == [(5, 18), (11, 18), (18, 18), (18, None)]


@given(st.lists(st.integers(2, 9), min_size=1, max_size=8), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_sampled_labels_do_not_depend_on_what_shares_the_batch(lengths, seed):
    examples = tiny.examples(tuple(lengths), seed=seed)
    counts = [int(example.scored.sum()) for example in examples]
    logits = torch.randn(sum(counts), 31, generator=torch.Generator().manual_seed(seed))
    together = sample_labels(logits, examples, seed).split(counts)
    for example, own, expected in zip(examples, logits.split(counts), together, strict=True):
        assert torch.equal(sample_labels(own, [example], seed), expected)


def test_sampled_labels_follow_the_distribution():
    """χ² of 20,000 draws from five tokens; 0.1 % of honest samplers exceed 18.5."""
    example = TokenizedExample(torch.zeros(20_001, dtype=torch.int64), torch.arange(20_001) > 0, (), "many")
    chances = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05])
    drawn = sample_labels(chances.log().expand(20_000, 5), [example], seed=0)
    counts = np.bincount(drawn.numpy(), minlength=5)
    expected = chances.numpy() * 20_000
    assert counts[1] == 0
    assert (((counts - expected) ** 2)[expected > 0] / expected[expected > 0]).sum() < 18.5


def test_rows_to_fit_on_are_drawn_by_identity_and_not_by_place():
    examples = tiny.examples(tuple(range(2, 22)))
    params = FactorParams(sequences=7, seed=3)
    drawn = {row.example_id for row in fitting_rows(examples, params)}
    assert len(drawn) == 7
    assert drawn == {row.example_id for row in fitting_rows(reversed(examples), params)}
    assert drawn != {row.example_id for row in fitting_rows(examples, params.model_copy(update={"seed": 4}))}
