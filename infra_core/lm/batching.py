"""Batches of examples of like length under a token budget. Pure: order in, order out, no model."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from infra_core.corpus.example import TokenizedExample


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded rows. Padding is told by `attention_mask`, never by a token id (eos may be pad).

    Attributes
    ----------
    index
        Where each row stood in the sequence given to `batches`.
    weights
        How often each row's loss counts in training.
    oversized
        Whether it is one row that is longer than a batch may be.
    """

    ids: Int64[Tensor, "B T"]
    scored: Bool[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    index: tuple[int, ...]
    weights: Float[Tensor, " B"]
    oversized: bool = False

    def to(self, device: str | torch.device) -> "Batch":
        """Return the same batch on another device."""
        return replace(
            self,
            ids=self.ids.to(device),
            scored=self.scored.to(device),
            attention_mask=self.attention_mask.to(device),
            weights=self.weights.to(device),
        )


def collate(examples: Sequence[TokenizedExample], index: Sequence[int] | None = None) -> Batch:
    """Pad examples on the right to their longest and stack them."""
    length = max(map(len, examples))
    ids = torch.zeros(len(examples), length, dtype=torch.int64)
    scored = torch.zeros(len(examples), length, dtype=torch.bool)
    attention_mask = torch.zeros(len(examples), length, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example)] = example.ids
        scored[row, : len(example)] = example.scored
        attention_mask[row, : len(example)] = True
    places = tuple(index if index is not None else range(len(examples)))
    return Batch(ids, scored, attention_mask, places, torch.tensor([example.weight for example in examples]))


def predicting(batch: Batch) -> Bool[Tensor, "B T"]:
    """Return the positions that predict a token: 0..T-2 of every row, prompt included, padding never."""
    mask = torch.zeros_like(batch.attention_mask)
    mask[:, :-1] = batch.attention_mask[:, 1:]
    return mask


def token_budget_groups(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group row numbers so that rows × longest row ≤ `budget`, rows of like length together.

    A row longer than the budget gets a group of its own.

    Examples
    --------
    >>> token_budget_groups([5, 1, 5, 2], budget=10)
    [[1, 3], [0, 2]]
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda r: (lengths[r], r)):
        if groups and (len(groups[-1]) + 1) * lengths[row] <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def batches(
    examples: Iterable[TokenizedExample], budget: int, *, window: int = 1024
) -> Iterator[tuple[Batch, list[TokenizedExample]]]:
    """Yield padded batches of at most `budget` positions, with the examples they were made of.

    Examples are sorted by length within windows of `window`, so memory is bounded whatever the corpus
    size; `Batch.index` counts over the whole sequence and lets a caller restore its order.
    """
    stream, offset = iter(examples), 0
    while chunk := list(islice(stream, window)):
        for group in token_budget_groups([len(example) for example in chunk], budget):
            rows = [chunk[row] for row in group]
            batch = collate(rows, [offset + row for row in group])
            yield replace(batch, oversized=batch.ids.numel() > budget), rows
        offset += len(chunk)
