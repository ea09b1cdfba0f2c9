"""THE loss: summed negative log-likelihood over scored tokens, in nats.

Training, Fisher, influence and likelihood evaluation all import it; nobody else defines one.

Index convention: entry t of a per-token array is about predicting token t from tokens 0..t-1, so the
logits of position t-1 are read at entry t. Entry 0 is 0.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional


def target_losses(logits: Float[Tensor, "N V"], targets: Int64[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Return the NLL of each target under its own row of logits, in nats, fp32 or better.

    Logits are raised to fp32 first: a bf16 log-sum-exp over a large vocabulary loses the third digit.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(wide, targets, reduction="none")


def token_losses(
    logits: Float[Tensor, "B T V"], ids: Int64[Tensor, "B T"], scored: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Return the NLL of every scored token in nats, fp32; 0 where `scored` is false."""
    # Position t-1 predicts token t. Only scored positions pass through the softmax: of a vocabulary
    # of 150k the others would cost more than the model.
    targets = scored[:, 1:]
    picked = target_losses(logits[:, :-1][targets], ids[:, 1:][targets])
    losses = picked.new_zeros(ids.shape)
    losses[:, 1:][targets] = picked
    return losses


def summed_loss(
    logits: Float[Tensor, "B T V"],
    ids: Int64[Tensor, "B T"],
    scored: Bool[Tensor, "B T"],
    weights: Float[Tensor, "B T"] | None = None,
) -> Float[Tensor, ""]:
    """Return the NLL summed over all scored tokens of the batch, in nats; each as often as `weights` say."""
    losses = token_losses(logits, ids, scored)
    return losses.sum() if weights is None else (losses * weights).sum()
