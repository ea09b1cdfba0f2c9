"""Weight gradients: summed over batches, or of single sequences, one at a time, rotated where it is cheap.

Corrected eigenvalues and self-influence look at each sequence's own gradient, and may not hold those of a
batch at once.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from infra_core.influence.covariance import Eigenbasis
from infra_core.influence.factors import ModuleFactors
from infra_core.influence.passes import accumulator
from infra_core.influence.precision import Products, operand, product, wide
from infra_core.influence.tracking import OnGradient, OnInput, Tracked

Each = Callable[[str, int, Tensor], None]
"""Called with a block's name, the row of the batch, and the gradient of that row's loss by the block."""


Basis = Eigenbasis | ModuleFactors
"""What rotates a block's two sides."""


class Rows(NamedTuple):
    """Activations of a leader, sequence after sequence."""

    a: Float[Tensor, "N d_in"]
    lengths: list[int]
    rotated: bool


def gradient_hooks(
    tracked: Tracked, bases: Mapping[str, Basis | None], each: Each, products: Products | None = None
) -> Callable[..., tuple[OnInput[Rows], OnGradient[Rows]]]:
    """Return what makes the hooks of a batch, given its predicting positions, and whose each of them is.

    By default each is its row's; else it is a stretch's, and stretches are numbered in reading order.

    Rotating tokens costs d² a token, once for all blocks that share them; rotating gradients instead costs d²
    for each of the other side's rows. Whichever is less is done, side by side and batch by batch.

    Parameters
    ----------
    tracked
        Blocks to watch.
    bases
        By block name; None leaves a block's gradients as they are.
    each
        Given every sequence's gradient in turn, or that of every stretch, d_out × d_in, in the basis where
        there is one. It must not keep it.
    products
        In which precision to multiply.
    """
    widths = {
        leader: sum(tracked.blocks[name].d_out for name in tracked.led(leader))
        for leader in set(tracked.leaders.values())
    }

    def side(basis: Tensor, beside: Tensor) -> Tensor:
        return operand(basis.to(beside.device), products).to(beside.dtype)

    def hooks(
        positions: Bool[Tensor, "B T"], owners: Int64[Tensor, " N"] | None = None
    ) -> tuple[OnInput[Rows], OnGradient[Rows]]:
        row_of = positions.nonzero()[:, 0] if owners is None else owners
        count = len(positions) if owners is None else int(owners.max()) + 1 if len(owners) else 0

        def on_input(leader: str, a: Tensor, at: Tensor | None) -> Rows:
            rows = row_of if at is None else row_of[at]
            lengths: list[int] = torch.bincount(rows, minlength=count).tolist()
            a, basis = operand(a, products), bases[leader]
            rotate = basis is not None and len(a) <= count * widths[leader]
            if basis is not None and rotate:
                a = operand(product(a, side(basis.q_a, a)), products)
            return Rows(a, lengths, rotate)

        def on_gradient(name: str, kept: Rows, g: Tensor) -> None:
            g, basis = operand(g, products), bases[name]
            q_a = side(basis.q_a, g) if basis is not None and not kept.rotated else None
            q_g = side(basis.q_g, g) if basis is not None else None
            gradients = sequence_gradients(kept.a, g, kept.lengths, q_a=q_a, q_g=q_g, products=products)
            for row, gradient in gradients:
                each(name, row, gradient)

        return on_input, on_gradient

    return hooks


def summing_hooks(
    model: nn.Module, tracked: Tracked
) -> tuple[dict[str, Tensor], tuple[OnInput[Tensor], OnGradient[Tensor]]]:
    """Return zeros by block, and the hooks that add the weight gradients of whole batches to them."""
    totals = {name: accumulator(model, block, *block.shape) for name, block in tracked.blocks.items()}

    def on_input(_leader: str, a: Tensor, _at: Tensor | None) -> Tensor:
        return a.to(wide(a.dtype))

    def on_gradient(name: str, a: Tensor, g: Tensor) -> None:
        totals[name].addmm_(g.to(totals[name].dtype).mT, a)

    return totals, (on_input, on_gradient)


def sequence_gradients(
    a: Float[Tensor, "N d_in"],
    g: Float[Tensor, "N d_out"],
    lengths: list[int],
    *,
    q_a: Float[Tensor, "d_in d_in"] | None,
    q_g: Float[Tensor, "d_out d_out"] | None,
    products: Products | None = None,
) -> Iterator[tuple[int, Float[Tensor, "d_out d_in"]]]:
    """Yield Q_Gᵀ G_b Q_A of every sequence b that has rows, with G_b = Σ δₜ aₜᵀ over them.

    One gradient exists at a time, whatever the batch.

    Parameters
    ----------
    a, g
        Activations and output gradients, sequence after sequence.
    lengths
        Rows of each sequence.
    q_a
        Basis of the activations; None where `a` is already rotated, or is to stay as it is.
    q_g
        Basis of the output gradients; None likewise.
    products
        In which precision to multiply.
    """
    if q_g is not None and len(a) <= len(lengths) * a.shape[1]:
        g, q_g = operand(product(g, q_g), products), None
    for row, (a_b, g_b) in enumerate(zip(a.split(lengths), g.split(lengths), strict=True)):
        if not len(a_b):
            continue
        gradient = product(g_b.mT, a_b)
        if q_a is not None:
            gradient = product(operand(gradient, products), q_a)
        if q_g is not None:
            gradient = product(q_g.mT, operand(gradient, products))
        yield row, gradient
