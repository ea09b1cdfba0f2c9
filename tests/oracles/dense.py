"""Curvature as one dense matrix, by the definitions."""

import torch
from torch import Tensor


def fisher(gradients: Tensor) -> Tensor:
    """Mean outer product of flattened gradients `[n, d_out, d_in]` -> `[d_out*d_in, d_out*d_in]`."""
    flat = gradients.flatten(1)
    return flat.T @ flat / len(flat)


def damped_inverse_product(curvature: Tensor, vector: Tensor, damping: float) -> Tensor:
    """Solve `(curvature + damping * mean eigenvalue * I) x = vector` densely."""
    ridge = damping * curvature.diagonal().mean() * torch.eye(len(curvature), dtype=curvature.dtype)
    return torch.linalg.solve(curvature + ridge, vector.flatten()).view_as(vector)


def in_basis(q_g: Tensor, q_a: Tensor, eigenvalues: Tensor) -> Tensor:
    """Recompose `(Q_G ⊗ Q_A) diag(Λ) (Q_G ⊗ Q_A)ᵀ`, rows of the weight flattened one after the other."""
    basis = torch.kron(q_g.contiguous(), q_a.contiguous())
    return basis @ torch.diag(eigenvalues.flatten()) @ basis.T
