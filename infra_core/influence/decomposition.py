"""Eigenvectors of a covariance, looked at before they are believed."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from infra_core.errors import DataError

RESIDUAL = 1e-5
"""Largest ‖CQ − QΛ‖ / ‖C‖ and ‖QᵀQ − I‖ / √n of what is called an eigendecomposition."""

PROBES = 8
"""Random directions in which these two are looked at."""


def decomposition_faults(
    exact: Float[Tensor, "d d"], values: Float[Tensor, " d"], vectors: Float[Tensor, "d d"]
) -> tuple[float, float]:
    """Return ‖CQ − QΛ‖ / ‖C‖ and ‖QᵀQ − I‖ / √d, as a few random directions show them.

    A matrix's Frobenius norm is the root mean square of what it makes of random signs, so that d³ operations
    need not be spent on a yes or no that is clear by orders of magnitude.
    """
    width, device = len(exact), exact.device
    signs = torch.randint(0, 2, (width, PROBES), generator=torch.Generator().manual_seed(0))
    probes = (2 * signs - 1).to(exact.dtype).to(device)
    turned = vectors @ probes
    residual = exact @ turned - vectors @ (values[:, None] * probes)
    skew = vectors.mT @ turned - probes
    norm = exact.norm().clamp(min=torch.finfo(exact.dtype).tiny)
    return float(residual.norm() / PROBES**0.5 / norm), float(skew.norm() / (PROBES * width) ** 0.5)


def eigendecomposition(
    covariance: Float[Tensor, "d d"], what: str, decomposition: Literal["fp32"] | None = None
) -> tuple[Float[Tensor, "d d"], Float[Tensor, " d"]]:
    """Return eigenvectors, one a column, and eigenvalues ≥ 0, ascending.

    Computed in fp64. In fp32 it takes half the time, and directions whose eigenvalues differ by less than
    some 2e-6 of the norm come out as mixtures of each other: with 1536 of them that is many, and corrected
    eigenvalues of few rows feel it (Pearson 0.9998 between scores that else agree to nine digits). Asked for
    in fp32, it is done in fp64 after all if residual or orthogonality are not good enough.

    Parameters
    ----------
    covariance
        Symmetric but for rounding.
    what
        Of what, for the message.
    decomposition
        Asks for fp32.

    Returns
    -------
    tuple
        In the dtype of `covariance`.

    Raises
    ------
    DataError
        If no decomposition is found whose residual is small.
    """
    residual = torch.inf
    # A tiny ridge moves no eigenvector, but unties a stuck solver.
    tries = [(torch.float64, ridge) for ridge in (0.0, 1e-10, 1e-7)]
    if decomposition == "fp32":
        tries.insert(0, (covariance.dtype, 0.0))
    for dtype, jitter in tries:
        exact = covariance.to(dtype)
        exact = (exact + exact.mT) / 2
        try:
            values, vectors = torch.linalg.eigh(_with_ridge(exact, jitter))
        except torch.linalg.LinAlgError:
            continue
        residual, skew = decomposition_faults(exact, values, vectors)
        if residual <= RESIDUAL and skew <= RESIDUAL:
            return vectors.to(covariance.dtype).contiguous(), values.clamp(min=0).to(covariance.dtype)
    raise DataError(
        f"the covariance of the {what} ({len(covariance)} wide, norm {float(covariance.norm()):.3g}) has no "
        f"eigendecomposition with a relative residual below {RESIDUAL}; got {residual:.3g}. "
        "Fit on other rows, or in fp32"
    )


def _with_ridge(exact: Float[Tensor, "d d"], share: float) -> Float[Tensor, "d d"]:
    """Return the matrix with a share of its mean diagonal added to that; as it is, and no copy, for none."""
    if not share:
        return exact
    ridged = exact.clone()
    ridged.diagonal().add_(share * exact.diagonal().mean())
    return ridged
