"""In which precision the engine multiplies: the one place that rounds.

=============  =====================  ==============  =====================================================
`products`     what is multiplied     added up in     for
=============  =====================  ==============  =====================================================
none           fp32 (fp64 if given)   the same        reference; CPUs
``bf16``       rounded to bf16        fp32            accelerators, at many times the rate of fp32
=============  =====================  ==============  =====================================================

It covers covariances, gradients of sequences, rotations and token scores. Preconditioning, eigendecomposition
and sums of scores are never rounded. On a CPU ``bf16`` rounds likewise and multiplies in fp32: the same
numbers but for the order of sums, and no faster.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Products = Literal["bf16"]


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to accumulate in: fp32, or fp64 for a model that is."""
    return torch.promote_types(dtype, torch.float32)


def operand(values: Float[Tensor, "..."], products: Products | None) -> Float[Tensor, "..."]:
    """Return values as what `product` takes: wide, or rounded to bf16.

    Parameters
    ----------
    values
        Of any floating dtype.
    products
        The policy; see the table above.
    """
    if products is None:
        return values.to(wide(values.dtype))
    rounded = values.to(torch.bfloat16)
    return rounded if rounded.is_cuda else rounded.to(wide(values.dtype))


def product(left: Float[Tensor, "n k"], right: Float[Tensor, "k m"]) -> Float[Tensor, "n m"]:
    """Multiply two operands and add up in fp32 or better."""
    if left.dtype == torch.bfloat16:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left @ right


def add_product(total: Float[Tensor, "n m"], left: Float[Tensor, "n k"], right: Float[Tensor, "k m"]) -> None:
    """Add the product of two operands to `total`, in place."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += product(left, right)
