"""Under which labels the loss is differentiated: the data's own, or drawn from the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from infra_core.corpus.example import TokenizedExample
from infra_core.lm.batching import Batch
from infra_core.recipe import FactorParams
from infra_core.seeds import generator


@dataclass(frozen=True, slots=True)
class Labels:
    """Whose labels.

    Attributes
    ----------
    seed
        Of what the model draws; None for the data's own labels.
    draw
        Which of several draws.
    """

    seed: int | None = None
    draw: int = 0


DATA = Labels()


def fisher_labels(params: FactorParams) -> list[Labels]:
    """Return the labels that the Fisher is of: `params.draws` draws, or the data's own once."""
    if params.fisher == "empirical":
        return [DATA]
    return [Labels(params.seed, draw) for draw in range(params.draws or 1)]


def targets(
    labels: Labels, logits: Float[Tensor, "N V"], batch: Batch, rows: Sequence[TokenizedExample]
) -> Int64[Tensor, " N"]:
    """Return the label of every scored token in reading order, given the logits that predict it."""
    if labels.seed is None:
        return scored_targets(batch)
    return sample_labels(logits.detach(), rows, labels.seed, labels.draw)


def scored_targets(batch: Batch) -> Int64[Tensor, " N"]:
    """Return the scored tokens in reading order."""
    return batch.ids[batch.scored]


def sample_labels(
    logits: Float[Tensor, "N V"], rows: Sequence[TokenizedExample], seed: int, draw: int = 0
) -> Int64[Tensor, " N"]:
    """Draw a token from the model's own distribution at every scored position.

    Inverse-CDF sampling from uniforms that belong to (seed, draw, example_id, scored token), so that an
    example's labels do not depend on what shares its batch (but for logits that round across a boundary).
    """
    name = "labels" if draw == 0 else f"labels {draw}"
    uniforms = [generator(seed, name, row.example_id or "").random(int(row.scored.sum())) for row in rows]
    thresholds = torch.from_numpy(np.concatenate(uniforms)).to(logits.device)
    labels = []
    # In slices: the fp64 distribution of a whole batch over 150k tokens would be its largest tensor.
    for piece, threshold in zip(logits.split(256), thresholds.split(256), strict=True):
        cdf = piece.float().softmax(-1).cumsum(-1, dtype=torch.float64)
        drawn = torch.searchsorted(cdf, threshold[:, None] * cdf[:, -1:], right=True)
        labels.append(drawn.squeeze(1).clamp(max=logits.shape[1] - 1))
    return torch.cat(labels)
