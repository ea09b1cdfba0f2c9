"""Rows as vectors: the model's own last hidden states, averaged with more weight on later positions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from infra_core.corpus.example import TokenizedExample
from infra_core.lm.batching import batches
from infra_core.lm.classes import PreTrainedModel


@torch.no_grad()
def embed(
    model: PreTrainedModel, examples: Sequence[TokenizedExample], *, batch_tokens: int = 16_384
) -> Float[Tensor, "N d"]:
    """Return a vector of length 1 for each example, prompt and response together, in their order.

    Position t of T weighs t / (1 + 2 + … + T), since a later one has seen more of the row; so in RDS+ [1]_.

    Parameters
    ----------
    model
        A causal language model of transformers.
    examples
        None longer than the model's context.
    batch_tokens
        Positions of one batch; how fast, not what.

    References
    ----------
    .. [1] Ivison et al. 2025, "Large-Scale Data Selection for Instruction Tuning", arXiv:2503.01807.
    """
    model.eval()
    found = torch.zeros(len(examples), model.config.hidden_size)
    for batch, _ in batches(examples, batch_tokens):
        there = batch.to(model.device)
        states = model.base_model(input_ids=there.ids, attention_mask=there.attention_mask.long())
        weights = there.attention_mask.cumsum(dim=1) * there.attention_mask
        means = torch.einsum("bt,btd->bd", weights.float(), states.last_hidden_state.float())
        found[list(batch.index)] = torch.nn.functional.normalize(means, dim=1).cpu()
    return found
