"""Does a row's gradient depend on what shares its batch? Fused attention, TF32 and bf16 can make it so."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.blocks import choose_blocks, text_config
from infra_core.influence.labels import DATA
from infra_core.influence.passes import BATCH_TOKENS, quiet, send_gradients
from infra_core.influence.tracking import Tracked, track
from infra_core.lm.batching import collate, predicting

ROWS = 4
NOTABLE = 1e-3
"""Relative difference from which ranks of influence begin to feel it; fp32 has about 1e-6."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How far output gradients of rows alone are from those of the same rows in one batch.

    Attributes
    ----------
    difference
        Largest ‖alone − together‖ / ‖alone‖ over rows, at the lowest tracked block, which all of the backward
        pass has gone through. 0 if no row has a gradient.
    rows
        Rows compared.
    dtype, attention
        What was running.
    """

    difference: float
    rows: int
    dtype: str
    attention: str

    @property
    def notable(self) -> bool:
        """Whether influence may depend on how rows are batched."""
        return not self.difference <= NOTABLE

    def __str__(self) -> str:
        how = f"{self.dtype}, {self.attention} attention"
        return f"gradients move by {self.difference:.1e} with batch companions ({self.rows} rows, {how})"


def probe_batches(
    model: nn.Module,
    examples: Sequence[TokenizedExample],
    modules: str,
    batch_tokens: int = BATCH_TOKENS,
) -> Probe:
    """Compare a few rows' gradients alone and batched.

    Parameters
    ----------
    model
        As it will be used: dtype, attention, device.
    examples
        The first `ROWS` are taken that have something scored and fit into one batch together.
    modules
        As in `FactorParams`.
    batch_tokens
        Padded positions a batch. A row that fills more than half of it has no companions to be moved by.
    """
    rows = _companions(examples, batch_tokens)
    parameter = next(model.parameters())
    with quiet(model):
        name, block = next(iter(choose_blocks(model, modules).items()))
        tracked = track(model, {name: block})
        together = _gradients(model, tracked, rows) if rows else []
        alone = [gradient for row in rows for gradient in _gradients(model, tracked, [row])]
    apart = [
        float((one - other).norm() / one.norm())
        for one, other in zip(alone, together, strict=True)
        if bool(one.any())
    ]
    attention = str(getattr(text_config(model), "_attn_implementation", None) or "unknown")
    return Probe(max(apart, default=0.0), len(rows), str(parameter.dtype).removeprefix("torch."), attention)


def _companions(examples: Sequence[TokenizedExample], batch_tokens: int) -> list[TokenizedExample]:
    """Return the first few rows that a batch would hold together."""
    rows: list[TokenizedExample] = []
    longest = 0
    for example in examples:
        wider = max(longest, len(example))
        if bool(example.scored[1:].any()) and (max(len(rows), 1) + 1) * wider <= batch_tokens:
            rows, longest = [*rows, example], wider
            if len(rows) == ROWS:
                break
    return rows


def _gradients(model: nn.Module, tracked: Tracked, rows: Sequence[TokenizedExample]) -> list[Tensor]:
    """Return the output gradients of the one tracked block, a tensor a row."""
    batch = collate(rows).to(next(model.parameters()).device)
    positions = predicting(batch)
    found: list[Tensor] = []
    row_of = positions.nonzero()[:, 0]

    def on_input(_leader: str, a: Tensor, at: Tensor | None) -> Tensor:
        return row_of if at is None else row_of[at]

    def on_gradient(_name: str, owner: Tensor, g: Tensor) -> None:
        found.extend(g[owner == row].float() for row in range(len(rows)))

    send_gradients(model, tracked, batch, rows, [DATA], (on_input, on_gradient))
    return found or [torch.zeros(1) for _ in rows]
