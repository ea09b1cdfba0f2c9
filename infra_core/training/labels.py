"""Labels of training: which token is to be predicted, whether it counts, and how often, in one number.

`transformers.Trainer` counts the labels that are not −100 and gives a loss of one's own the labels and
nothing else of a batch. So a label carries its weight in its upper 32 bits, as those of an fp32 number, and
the token in the lower.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from infra_core.lm.batching import Batch

NOT_SCORED = -100
"""The label that Trainer does not count."""

_LOWER = 2**32 - 1


def to_labels(batch: Batch) -> Int64[Tensor, "B T"]:
    """Return the labels of a batch: tokens, weights and what is not scored.

    Raises
    ------
    ValueError
        If a weight is negative or not finite: it would read as a token that is not scored.
    """
    if not bool((batch.weights.isfinite() & (batch.weights >= 0)).all()):
        raise ValueError(f"weights {batch.weights.tolist()} of rows: give finite ones that are not negative")
    # abs, since −0.0 has a sign bit.
    upper = batch.weights.to(torch.float32).abs().view(torch.int32).to(torch.int64)
    return ((upper[:, None] << 32) | batch.ids).masked_fill(~batch.scored, NOT_SCORED)


def from_labels(
    labels: Int64[Tensor, "B T"],
) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Return tokens, which of them are scored, and their weights; 0 and 0.0 where they are not."""
    packed = labels.clamp(min=0)
    return packed & _LOWER, labels != NOT_SCORED, (packed >> 32).to(torch.int32).view(torch.float32)
