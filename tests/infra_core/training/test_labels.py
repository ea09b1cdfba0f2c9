"""A label carries token, mask and weight, and gives all three back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infra_core.corpus.example import TokenizedExample
from infra_core.lm.batching import collate
from infra_core.training.labels import NOT_SCORED, from_labels, to_labels

rows = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), min_size=1, max_size=6),
        st.floats(0, 1e6, width=32),
    ),
    min_size=1,
    max_size=4,
)


def example(tokens, weight=1.0):
    ids, scored = (torch.tensor(column) for column in zip(*tokens, strict=True))
    return TokenizedExample(ids, scored & (torch.arange(len(ids)) > 0), weight=weight)


@given(rows)
def test_tokens_weights_and_mask_come_back_to_the_bit(drawn):
    """For any token of a vocabulary and any weight that fp32 has, subnormal ones among them."""
    batch = collate([example(tokens, weight) for tokens, weight in drawn])
    ids, scored, weights = from_labels(to_labels(batch))
    assert torch.equal(scored, batch.scored)
    assert torch.equal(ids[scored], batch.ids[scored])
    assert torch.equal(weights[scored], batch.weights[:, None].expand_as(batch.ids)[scored])
    assert not weights[~scored].any()


def test_trainer_counts_the_scored_tokens_and_no_other():
    """It counts what is not −100, of a row that counts for nothing as well."""
    batch = collate([example([(5, True), (6, True), (7, False)], weight) for weight in (0.0, 1.0, 2.5)])
    assert int((to_labels(batch) != NOT_SCORED).sum()) == int(batch.scored.sum())


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_weight_is_refused(weight):
    with pytest.raises(ValueError, match="give finite ones that are not negative"):
        to_labels(collate([example([(1, True), (2, True)], weight)]))
