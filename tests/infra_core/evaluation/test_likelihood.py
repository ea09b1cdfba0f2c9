"""The likelihood of a reference is the model's own, whatever shares its batch."""

import polars as pl
import pytest
import torch

from infra_core.corpus.render import prompt_ids
from infra_core.corpus.schema import CORPUS, LIKELIHOODS
from infra_core.evaluation.likelihood import reference_likelihoods
from infra_core.lm.load import build_scratch
from infra_core.recipe import ScratchBase


@pytest.fixture(scope="module")
def language_model():
    """A small random model with a context of 64."""
    return build_scratch(
        ScratchBase(kind="scratch", hidden_size=32, layers=2, heads=4, kv_heads=2, mlp_size=48, context=64)
    )


ROWS = pl.DataFrame(
    [
        {"example_id": f"q{n}", "domain": "math", "source": "sums", "prompt": prompt, "response": response}
        for n, (prompt, response) in enumerate([
            ("2+2?", "4"),
            ("and?", ""),
            ("longer question?", "a longer answer"),
            ("x" * 70, "too long"),
        ])
    ],
    schema=pl.Schema(CORPUS),
)


def test_it_is_the_negative_log_probability_of_answer_and_end(language_model):
    """Summed token by token by hand; rows without a response, or too long for the model, are left out."""
    model, tokenizer = language_model
    found = reference_likelihoods(model, tokenizer, ROWS)
    assert found.schema == pl.Schema(LIKELIHOODS)
    assert found["question_id"].to_list() == ["q0", "q2"]
    for row, (prompt, response) in zip(
        found.iter_rows(named=True), [("2+2?", "4"), ("longer question?", "a longer answer")], strict=True
    ):
        start = prompt_ids(prompt, tokenizer)
        answer = [*tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*start, *answer]])).logits[0]
        expected = -sum(
            logits[len(start) + place - 1].log_softmax(-1)[token].item() for place, token in enumerate(answer)
        )
        assert row["nll"] == pytest.approx(expected, rel=1e-5)
        assert row["scored_tokens"] == len(answer)


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_batching_changes_nothing(language_model, batch_tokens):
    """Padding and company are no part of a likelihood."""
    model, tokenizer = language_model
    alone = reference_likelihoods(model, tokenizer, ROWS[:1])["nll"][0]
    together = reference_likelihoods(model, tokenizer, ROWS, batch_tokens=batch_tokens)["nll"][0]
    assert together == pytest.approx(alone, rel=1e-5)


def test_no_references_give_an_empty_table(language_model):
    """A benchmark need not have reference responses."""
    model, tokenizer = language_model
    assert reference_likelihoods(model, tokenizer, ROWS[1:2]).is_empty()
