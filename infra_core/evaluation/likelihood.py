"""How likely a model finds reference responses: a finer sign of learning than right or wrong."""

import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infra_core.corpus.render import render
from infra_core.corpus.schema import LIKELIHOODS
from infra_core.lm.batching import batches
from infra_core.lm.objective import token_losses


@torch.no_grad()
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
    model.eval()
    nll: dict[str | None, float] = {}
    for batch, members in batches(examples, batch_tokens):
        on_device = batch.to(model.device)
        logits = model(input_ids=on_device.ids, attention_mask=on_device.attention_mask.long()).logits
        losses = token_losses(logits, on_device.ids, on_device.scored).double().sum(dim=1).tolist()
        nll.update(zip((example.example_id for example in members), losses, strict=True))
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
