"""An index of gradients: one pass over the rows, and whatever is asked of them later needs none.

Kept of an example, or of each of its spans, are a few coordinates of its gradient in the eigenbasis, in a
byte each. They know of no query: other queries, another damping, a difference of groups and more rows cost a
product (`search`). Each coordinate is a sum of many of the gradient's, places and signs drawn by chance: a
count sketch (Charikar et al. 2002, doi:10.1007/3-540-45465-9_59) whose hashes are those of a row and a column
(Pham & Pagh 2013, doi:10.1145/2487575.2487591). No direction is left out, and a product of two such vectors
is on average that of what was summed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int8, Int64
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import RequestError
from infra_core.influence.factors import Factors, IdentityFactors, bases_of
from infra_core.influence.gradients import gradient_hooks
from infra_core.influence.kept import kept_passes
from infra_core.influence.labels import DATA
from infra_core.influence.passes import (
    BATCH_TOKENS,
    Progress,
    passing,
    quiet,
    send_gradients,
    track_factors,
)
from infra_core.lm.batching import predicting
from infra_core.recipe import IndexParams
from infra_core.seeds import generator

STEPS = 127
"""To either side of zero: what a byte holds."""

WHITENING = 0.1
"""λ₀, times a block's mean eigenvalue: the damping at which coordinates weigh alike."""

ROWS = 1024
"""Rows of a gradient that are folded at a time: they take several times their own bytes for a moment."""


@dataclass(frozen=True, slots=True, eq=False)
class Folding:
    """How the d_out × d_in coordinates of a block become fewer.

    Attributes
    ----------
    rows, columns
        What row i and column j add to the place of entry (i, j), which is their sum modulo `width`.
    row_signs, column_signs
        Whose product is the entry's sign.
    eigenvalues
        Λ: entries are divided by √(Λ + λ₀) first, so that large ones do not drown the rest.
    width
        Coordinates.
    """

    rows: Int64[Tensor, " d_out"]
    columns: Int64[Tensor, " d_in"]
    row_signs: Float[Tensor, " d_out"]
    column_signs: Float[Tensor, " d_in"]
    eigenvalues: Float[Tensor, "d_out d_in"]
    width: int

    @property
    def whole(self) -> bool:
        """Whether each of the block's coordinates is kept by itself."""
        return self.width == self.eigenvalues.numel()

    def fold(
        self, gradient: Float[Tensor, "d_out d_in"], damping: float | None = None
    ) -> Float[Tensor, " k"]:
        """Return the coordinates of a row's gradient; with `damping`, those of a query's to multiply with."""
        device = gradient.device
        found = torch.zeros(self.width, dtype=gradient.dtype, device=device)
        mean = float(self.eigenvalues.mean())
        if not mean:  # a block without any curvature, which the loss never reached, has no part in it
            return found
        columns, signs = self.columns.to(device), self.column_signs.to(device, gradient.dtype)
        for start in range(0, len(gradient), ROWS):
            piece = slice(start, start + ROWS)
            known = self.eigenvalues[piece].to(device)
            even = (known + WHITENING * mean).sqrt()
            weights = 1 / even if damping is None else even / (known + damping * mean)
            values = gradient[piece] * weights.to(gradient.dtype) * signs
            values *= self.row_signs[piece].to(device, gradient.dtype)[:, None]
            places = (self.rows[piece].to(device)[:, None] + columns) % self.width
            found.index_add_(0, places.flatten(), values.flatten())
        return found


@dataclass(frozen=True, slots=True, eq=False)
class IndexLayout:
    """How each block's gradients are folded, by block name."""

    foldings: dict[str, Folding]

    @property
    def columns(self) -> dict[str, slice]:
        """Where each block's coordinates stand in a row."""
        return side_by_side({name: folding.width for name, folding in self.foldings.items()})

    @property
    def width(self) -> int:
        """Coordinates of a row."""
        return sum(folding.width for folding in self.foldings.values())


def side_by_side(widths: Mapping[str, int]) -> dict[str, slice]:
    """Return where each of several stretches stands, one after the other."""
    found, start = {}, 0
    for name, width in widths.items():
        found[name] = slice(start, start + width)
        start += width
    return found


@dataclass(frozen=True, slots=True, eq=False)
class IndexBlock:
    """Some rows of an index; blocks are added and never changed.

    Attributes
    ----------
    example_ids
        Of each row.
    spans
        Which span of the example a row is of; None for the whole of it.
    codes
        Coordinates, in steps.
    scales
        Size of a step, by row and block.
    """

    example_ids: list[str]
    spans: list[int | None]
    codes: Int8[Tensor, "n k"]
    scales: Float[Tensor, "n m"]

    def __len__(self) -> int:
        """Count rows."""
        return len(self.example_ids)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, but for its names."""
        return self.codes.shape[1] + self.scales.shape[1] * self.scales.element_size()


def index_layout(factors: Mapping[str, Factors], params: IndexParams) -> IndexLayout:
    """Return how gradients are folded; drawn by the blocks' names, so it is the same in every turn and run.

    A block that has no more coordinates than are kept keeps each as it is.

    Raises
    ------
    RequestError
        If factors have no eigenvalues.
    """
    foldings = {}
    for name, one in factors.items():
        if isinstance(one, IdentityFactors):
            raise RequestError("an index needs eigenvalues to weigh by; fit factors with curvature: ekfac")
        d_out, d_in = one.eigenvalues.shape
        drawn = generator(0, "index", name)
        if d_out * d_in <= params.coordinates:
            places, width = (np.arange(d_out) * d_in, np.arange(d_in)), d_out * d_in
        else:
            width = params.coordinates
            places = drawn.integers(width, size=d_out), drawn.integers(width, size=d_in)
        signs = [2.0 * drawn.integers(2, size=size) - 1 for size in (d_out, d_in)]
        rows, columns, up, across = (torch.from_numpy(each) for each in (*places, *signs))
        foldings[name] = Folding(rows, columns, up, across, one.eigenvalues, width)
    return IndexLayout(foldings)


def index_examples(
    model: nn.Module,
    factors: Mapping[str, Factors],
    examples: Iterable[TokenizedExample],
    params: IndexParams,
    *,
    layout: IndexLayout | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> IndexBlock:
    """Index rows: one forward and backward pass, and the rotations that eigenvalues take.

    Parameters
    ----------
    model
        The model that the factors were fitted on.
    factors
        From `fit_factors`.
    examples
        Training rows.
    params
        How many coordinates, of examples or of spans.
    layout
        From `index_layout`, for those who index block after block.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all or None) after each batch.

    Returns
    -------
    IndexBlock
        A row an example, or one a span, in the order of the examples.
    """
    layout = layout or index_layout(factors, params)
    columns = layout.columns
    found: dict[int, tuple[TokenizedExample, tuple[Tensor, ...]]] = {}
    with quiet(model):
        tracked = track_factors(model, factors)
        bases = bases_of(factors)
        folded: Tensor

        def put(name: str, row: int, gradient: Tensor) -> None:
            folded[row, columns[name]] = layout.foldings[name].fold(gradient).to(folded.dtype)

        hooks = gradient_hooks(tracked, bases, put, params.products)
        passes = kept_passes(examples, model, tracked)
        for batch, rows in passing(model, examples, batch_tokens, progress):
            owners, counts = _owners(rows, params)
            folded = torch.zeros(sum(counts), layout.width, device=batch.ids.device)
            made = hooks(predicting(batch), owners.to(batch.ids.device))
            send_gradients(model, tracked, batch, rows, [DATA], made, passes)
            codes, scales = quantised(folded, list(columns.values()))
            pieces = zip(*(each.cpu().split(counts) for each in (codes, scales)), strict=True)
            for place, row, piece in zip(batch.index, rows, pieces, strict=True):
                found[place] = row, piece
    return _block([found[place] for place in sorted(found)], params, layout)


def _owners(rows: Sequence[TokenizedExample], params: IndexParams) -> tuple[Int64[Tensor, " N"], list[int]]:
    """Return which row of the index each predicting position belongs to, and how many each example has.

    Position t predicts token t + 1, and is that token's span's.
    """
    owners: list[Tensor] = []
    counts: list[int] = []
    for row in rows:
        lengths = [span.stop - span.start for span in row.spans] if params.level == "span" else [len(row)]
        tokens = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
        owners.append(sum(counts) + tokens[1:])
        counts.append(len(lengths))
    return torch.cat(owners), counts


def _block(
    found: Sequence[tuple[TokenizedExample, tuple[Tensor, ...]]], params: IndexParams, layout: IndexLayout
) -> IndexBlock:
    ids: list[str] = []
    spans: list[int | None] = []
    pieces = [(torch.zeros(0, layout.width, dtype=torch.int8), torch.zeros(0, len(layout.foldings)))]
    for row, piece in found:
        count = len(piece[0])
        ids.extend([row.example_id or ""] * count)
        spans.extend(range(count) if params.level == "span" else [None])
        pieces.append((piece[0], piece[1]))
    codes, scales = (torch.cat(each) for each in zip(*pieces, strict=True))
    return IndexBlock(ids, spans, codes, scales)


def quantised(
    values: Float[Tensor, "n k"], columns: Sequence[slice]
) -> tuple[Int8[Tensor, "n k"], Float[Tensor, "n m"]]:
    """Round each row's values to `STEPS` steps to either side of zero, of one size for each slice of columns.

    Examples
    --------
    >>> codes, scales = quantised(torch.tensor([[1.0, -0.5, 0.0]]), [slice(0, 2), slice(2, 3)])
    >>> codes.tolist(), (scales * STEPS).tolist()
    ([[127, -64, 0]], [[1.0, 0.0]])
    """
    codes = torch.zeros(values.shape, dtype=torch.int8, device=values.device)
    scales = torch.zeros(len(values), len(columns), device=values.device)
    for number, inside in enumerate(columns):
        step = values[:, inside].abs().amax(1, keepdim=True) / STEPS
        steps = values[:, inside] / step.where(step > 0, torch.ones_like(step))
        codes[:, inside] = steps.round().clamp(-STEPS, STEPS).to(torch.int8)
        scales[:, number] = step[:, 0]
    return codes, scales
