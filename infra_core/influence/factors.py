"""EK-FAC factors of a linear module, and the inverse-curvature product they give."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ModuleFactors:
    r"""Curvature of the loss in one linear module's weight, in its Kronecker eigenbasis.

    The module's block of the Gauss-Newton Hessian is approximated by
    :math:`(Q_G \otimes Q_A)\,\mathrm{diag}(\Lambda)\,(Q_G \otimes Q_A)^\top` [1]_. A bias is the last
    column of the weight.

    Attributes
    ----------
    q_a
        Eigenvectors of the activation covariance :math:`A`, one a column.
    q_g
        Eigenvectors of the output-gradient covariance :math:`G`, one a column.
    eigenvalues
        :math:`\Lambda`: mean squared per-sequence gradient along each eigen-direction. Nats², per unit
        weight², per sequence.
    n_sequences
        Gradients averaged over: training sequences × draws of labels. 0 if the eigenvalues are K-FAC's
        products of those of :math:`G` and :math:`A`.

    References
    ----------
    .. [1] George et al. 2018, "Fast Approximate Natural Gradient Descent in a Kronecker-factored
       Eigenbasis", NeurIPS, arXiv:1806.03884.
    """

    q_a: Float[Tensor, "d_in d_in"]
    q_g: Float[Tensor, "d_out d_out"]
    eigenvalues: Float[Tensor, "d_out d_in"]
    n_sequences: int


@dataclass(frozen=True, slots=True, eq=False)
class DiagonalFactors:
    """Curvature of each weight by itself, blind to how weights act together.

    Attributes
    ----------
    eigenvalues
        Mean squared per-sequence gradient of each weight. Nats², per unit weight², per sequence.
    n_sequences
        Gradients averaged over.
    """

    eigenvalues: Float[Tensor, "d_out d_in"]
    n_sequences: int


@dataclass(frozen=True, slots=True)
class IdentityFactors:
    """The identity in place of a module's curvature: influence becomes a plain gradient dot product."""


Factors = ModuleFactors | DiagonalFactors | IdentityFactors


def shape_of(factors: Factors) -> tuple[int, int] | None:
    """Return (d_out, d_in) of the block they are of, or None if they fit any."""
    if isinstance(factors, IdentityFactors):
        return None
    d_out, d_in = factors.eigenvalues.shape
    return d_out, d_in


def bases_of(factors: Mapping[str, Factors]) -> dict[str, ModuleFactors | None]:
    """Return by block the factors whose eigenbasis gradients are turned into; None where they have none."""
    return {name: one if isinstance(one, ModuleFactors) else None for name, one in factors.items()}


def precondition(
    gradient: Float[Tensor, "*batch d_out d_in"], factors: Factors, *, damping: float
) -> Float[Tensor, "*batch d_out d_in"]:
    r"""Multiply a weight gradient by the damped inverse curvature of its module.

    Computes :math:`(H + \lambda I)^{-1} v` with :math:`\lambda` = ``damping`` × the mean eigenvalue, as in
    [1]_: two rotations in, one elementwise division, two rotations out.

    Parameters
    ----------
    gradient
        Gradient of a scalar by the module's weight; leading axes are a batch.
    factors
        Factors of the same module. `IdentityFactors` leave the gradient as it is, undamped.
    damping
        Relative to the mean eigenvalue, so it has no unit. Must be positive.

    Returns
    -------
    Tensor
        Same shape, dtype and device as `gradient`. Zero where a module has no
        curvature at all: the loss never reached it.

    Raises
    ------
    ValueError
        If `damping` is not positive: a zero eigenvalue would then divide by zero.

    References
    ----------
    .. [1] Grosse et al. 2023, "Studying Large Language Model Generalization with Influence
       Functions", arXiv:2308.03296.

    Examples
    --------
    With the identity for curvature, preconditioning only rescales:

    >>> import torch
    >>> unit = ModuleFactors(torch.eye(2), torch.eye(1), torch.ones(1, 2), n_sequences=1)
    >>> precondition(torch.tensor([[3.0, 6.0]]), unit, damping=0.5)
    tensor([[2., 4.]])
    """
    if damping <= 0:
        raise ValueError(f"damping must be positive, got {damping}; 0.1 is the usual choice")
    if isinstance(factors, IdentityFactors):
        return gradient
    solved = in_basis(gradient, factors) * damped_inverse(factors, damping=damping).to(gradient.device)
    if isinstance(factors, DiagonalFactors):
        return solved
    return factors.q_g.to(gradient.device) @ solved @ factors.q_a.to(gradient.device).mT


def in_basis(
    gradient: Float[Tensor, "*batch d_out d_in"], factors: ModuleFactors | DiagonalFactors
) -> Float[Tensor, "*batch d_out d_in"]:
    """Return a gradient's coordinates in the basis of its eigenvalues; as it is, if those are plain."""
    if isinstance(factors, DiagonalFactors):
        return gradient
    return factors.q_g.to(gradient.device).mT @ gradient @ factors.q_a.to(gradient.device)


def damped_inverse(
    factors: ModuleFactors | DiagonalFactors, *, damping: float
) -> Float[Tensor, "d_out d_in"]:
    """Return 1 / (Λ + λ) with λ = `damping` × mean Λ; zero where a block has no curvature at all."""
    damped = factors.eigenvalues + damping * factors.eigenvalues.mean()
    return damped.reciprocal() if damped.any() else torch.zeros_like(damped)
