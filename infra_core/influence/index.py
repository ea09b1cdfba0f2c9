"""An index of gradients: one pass over the rows, and whatever is asked of them later needs none.

Kept of an example, or of each of its spans, are the coordinates of its gradient in the eigenbasis along the
largest eigenvalues, in a byte each, and the norm of the rest. They are undamped and know of no query: other
queries, another damping, a difference of groups and more rows cost a product (`search`). What is left out is
bounded, so that a score comes with how far it may be off.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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

STEPS = 127
"""To either side of zero: what a byte holds."""


@dataclass(frozen=True, slots=True, eq=False)
class IndexLayout:
    """Which coordinates are kept, and all that searching needs of the curvature.

    Attributes
    ----------
    places
        By block name, ascending places in the flattened d_out × d_in coordinates.
    eigenvalues
        By block name, Λ there.
    least
        By block name, the smallest Λ anywhere else; infinite where everything is kept.
    mean
        By block name, the mean Λ, which damping is relative to.
    """

    places: dict[str, Int64[Tensor, " k"]]
    eigenvalues: dict[str, Float[Tensor, " k"]]
    least: dict[str, float]
    mean: dict[str, float]

    @property
    def columns(self) -> dict[str, slice]:
        """Where each block's coordinates stand in a row."""
        found, start = {}, 0
        for name, places in self.places.items():
            found[name] = slice(start, start + len(places))
            start += len(places)
        return found

    @property
    def width(self) -> int:
        """Coordinates of a row."""
        return sum(map(len, self.places.values()))


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
    tails
        Norm of the coordinates that are not kept, by row and block.
    """

    example_ids: list[str]
    spans: list[int | None]
    codes: Int8[Tensor, "n k"]
    scales: Float[Tensor, "n m"]
    tails: Float[Tensor, "n m"]

    def __len__(self) -> int:
        """Count rows."""
        return len(self.example_ids)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, but for its names."""
        return self.codes.shape[1] + 2 * self.scales.shape[1] * self.scales.element_size()


def index_layout(factors: Mapping[str, Factors], params: IndexParams) -> IndexLayout:
    """Choose the coordinates along which gradients are largest: those of the largest eigenvalues.

    Raises
    ------
    RequestError
        If factors have no eigenvalues.
    """
    places, eigenvalues, least, mean = {}, {}, {}, {}
    for name, one in factors.items():
        if isinstance(one, IdentityFactors):
            raise RequestError("an index needs eigenvalues to choose by; fit factors with curvature: ekfac")
        values = one.eigenvalues.flatten()
        order = values.argsort(descending=True, stable=True)
        places[name] = order[: params.coordinates].sort().values
        eigenvalues[name] = values[places[name]].float().cpu()
        rest = order[params.coordinates :]
        least[name] = float(values[rest[-1]]) if len(rest) else float("inf")
        mean[name] = float(values.mean())
    return IndexLayout(places, eigenvalues, least, mean)


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
        From `index_layout`, for those who index block after block; it sorts all eigenvalues.
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
    columns, numbers = layout.columns, {name: number for number, name in enumerate(layout.places)}
    found: dict[int, tuple[TokenizedExample, tuple[Tensor, ...]]] = {}
    with quiet(model):
        tracked = track_factors(model, factors)
        bases = bases_of(factors)
        heads: Tensor
        tails: Tensor

        def put(name: str, row: int, gradient: Tensor) -> None:
            head = gradient.flatten()[layout.places[name].to(gradient.device)]
            heads[row, columns[name]] = head.to(heads.dtype)
            # In fp64: the difference of two norms that hardly differ.
            whole, kept = (torch.linalg.vector_norm(each, dtype=torch.float64) for each in (gradient, head))
            tails[row, numbers[name]] = (whole.square() - kept.square()).clamp(min=0).sqrt().to(tails.dtype)

        hooks = gradient_hooks(tracked, bases, put, params.products)
        passes = kept_passes(examples, model, tracked)
        for batch, rows in passing(model, examples, batch_tokens, progress):
            owners, counts = _owners(rows, params)
            heads = torch.zeros(sum(counts), layout.width, device=batch.ids.device)
            tails = torch.zeros(sum(counts), len(numbers), device=batch.ids.device)
            made = hooks(predicting(batch), owners.to(batch.ids.device))
            send_gradients(model, tracked, batch, rows, [DATA], made, passes)
            codes, scales = quantised(heads, list(columns.values()))
            pieces = zip(*(each.cpu().split(counts) for each in (codes, scales, tails)), strict=True)
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
    blocks = len(layout.places)
    empty = torch.zeros(0, blocks)
    pieces = [(torch.zeros(0, layout.width, dtype=torch.int8), empty, empty)]
    for row, piece in found:
        count = len(piece[0])
        ids.extend([row.example_id or ""] * count)
        spans.extend(range(count) if params.level == "span" else [None])
        pieces.append((piece[0], piece[1], piece[2]))
    codes, scales, tails = (torch.cat(each) for each in zip(*pieces, strict=True))
    return IndexBlock(ids, spans, codes, scales, tails)


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
