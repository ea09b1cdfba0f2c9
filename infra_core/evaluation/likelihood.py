"""How likely a model finds reference responses: a finer sign of learning than right or wrong."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
import torch
from transformers import PreTrainedTokenizerBase

from infra_core.corpus.example import TokenizedExample
from infra_core.corpus.render import render
from infra_core.corpus.schema import LIKELIHOODS
from infra_core.lm.batching import batches
from infra_core.lm.classes import PreTrainedModel
from infra_core.lm.objective import token_losses


class Likelihood(NamedTuple):
    """How likely a model finds the scored tokens of an example."""

    nll: float  # nats, summed
    exact: bool  # each is the likeliest one: the model, always taking that, would write the same


@torch.no_grad()
def likelihoods(
    model: PreTrainedModel, examples: Sequence[TokenizedExample], *, batch_tokens: int = 16_384
) -> list[Likelihood]:
    """Return the likelihood of each example, in their order; none may be longer than the model's context."""
    model.eval()
    found: dict[int, Likelihood] = {}
    for batch, _ in batches(examples, batch_tokens):
        there = batch.to(model.device)
        logits = model(input_ids=there.ids, attention_mask=there.attention_mask.long()).logits
        nll = token_losses(logits, there.ids, there.scored).double().sum(dim=1)
        likeliest = (logits[:, :-1].argmax(dim=-1) == there.ids[:, 1:]) | ~there.scored[:, 1:]
        told = zip(nll.tolist(), likeliest.all(dim=1).tolist(), strict=True)
        found |= {place: Likelihood(*each) for place, each in zip(batch.index, told, strict=True)}
    return [found[place] for place in range(len(examples))]


def reference_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: pl.DataFrame,
    *,
    batch_tokens: int = 16_384,
) -> pl.DataFrame:
    """Return the NLL of each reference response, given its question.

    Parameters
    ----------
    model, tokenizer
        A causal model and its tokenizer.
    questions
        Schema CORPUS; rows without a response, and rows longer than the model's context, are left out.
    batch_tokens
        Positions of one batch; how fast, not what.

    Returns
    -------
    DataFrame
        Schema LIKELIHOODS, in the order of the questions.
    """
    answered = questions.filter(pl.col("response").str.strip_chars() != "")
    context = model.config.max_position_embeddings
    examples = [example for example in render(answered, tokenizer, spans=None) if len(example) <= context]
    told = likelihoods(model, examples, batch_tokens=batch_tokens)
    nll = {example.example_id: each.nll for example, each in zip(examples, told, strict=True)}
    scored = {example.example_id: int(example.scored.sum()) for example in examples}
    measured = pl.DataFrame(
        {
            "question_id": list(scored),
            "nll": [nll[name] for name in scored],
            "scored_tokens": list(scored.values()),
        },
        schema={"question_id": pl.String(), "nll": pl.Float64(), "scored_tokens": pl.Int64()},
    )
    return (
        answered
        .rename({"example_id": "question_id", "source": "task"})
        .join(measured, on="question_id", how="inner", maintain_order="left")
        .select(*LIKELIHOODS)
        .cast(pl.Schema(LIKELIHOODS))
    )
