"""Covariances A of activations and G of output gradients, and the eigenbases that EK-FAC works in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError
from infra_core.influence.passes import (
    BATCH_TOKENS,
    Progress,
    accumulator,
    differentiate,
    fisher_loss,
    fitting_rows,
    passing,
    predicting,
    quiet,
    require_finite,
)
from infra_core.influence.tracking import Tracked, capture, choose_modules, track, weight_shape
from infra_core.recipe import FactorParams

RESIDUAL = 1e-5
"""Largest ‖CQ − QΛ‖ / ‖C‖ that is called an eigendecomposition; a good one in fp64 has about 1e-14."""


@dataclass(frozen=True, slots=True, eq=False)
class Covariances:
    """Uncentred covariances, averaged over predicting positions.

    Attributes
    ----------
    cov_a
        By the name of the first module that sees the activations.
    cov_g
        By module name.
    leaders
        For each module the key of its `cov_a`.
    n_positions
        Positions averaged over.
    """

    cov_a: dict[str, Tensor]
    cov_g: dict[str, Tensor]
    leaders: dict[str, str]
    n_positions: int


@dataclass(frozen=True, slots=True, eq=False)
class Eigenbasis:
    """Eigenvectors of a module's two covariances, one a column, with their eigenvalues, ascending.

    Modules fed with the same tensor hold the same `q_a` and `values_a` objects.
    """

    q_a: Float[Tensor, "d_in d_in"]
    q_g: Float[Tensor, "d_out d_out"]
    values_a: Float[Tensor, " d_in"]
    values_g: Float[Tensor, " d_out"]


def fit_eigenbasis(
    model: nn.Module,
    examples: Iterable[TokenizedExample],
    params: FactorParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> dict[str, Eigenbasis]:
    """Find the directions in which EK-FAC treats the curvature of each module as independent.

    Parameters
    ----------
    model
        A causal language model of transformers.
    examples
        Training rows. Positions 0..T-2 of each count, prompt included.
    params
        Which modules, rows and labels.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all or None) after each batch.

    Returns
    -------
    dict
        By module name.
    """
    covariances = fit_covariances(model, examples, params, batch_tokens=batch_tokens, progress=progress)
    return eigenbases(covariances)


def fit_covariances(
    model: nn.Module,
    examples: Iterable[TokenizedExample],
    params: FactorParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> Covariances:
    """Average a aᵀ and δ δᵀ over the predicting positions of the rows to fit on; see `fit_eigenbasis`.

    Raises
    ------
    DataError
        If no row has a position that predicts anything, or numbers stop being finite.
    """
    with quiet(model):
        tracked = track(model, choose_modules(model, params.modules))
        cov_a, cov_g = _accumulators(tracked)
        n_positions = 0

        def on_input(leader: str, a: Tensor) -> None:
            a = a.to(cov_a[leader].dtype)
            cov_a[leader].addmm_(a.mT, a)

        def on_gradient(name: str, _kept: None, g: Tensor) -> None:
            g = g.to(cov_g[name].dtype)
            cov_g[name].addmm_(g.mT, g)

        for batch, rows in passing(model, fitting_rows(examples, params), batch_tokens, progress):
            positions = predicting(batch)
            with capture(tracked, positions, on_input, on_gradient):
                differentiate(fisher_loss(model, batch, rows, params))
            n_positions += int(positions.sum())
            require_finite(_traces(cov_a), "activations", rows)
            require_finite(_traces(cov_g), "output gradients", rows)
    if not n_positions:
        raise DataError("no example to fit factors on has two tokens or more; give examples")
    for total in (*cov_a.values(), *cov_g.values()):
        total /= n_positions
    return Covariances(cov_a, cov_g, dict(tracked.leaders), n_positions)


def _accumulators(tracked: Tracked) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    cov_a, cov_g = {}, {}
    for name, module in tracked.modules.items():
        d_out, d_in = weight_shape(module)
        if tracked.leaders[name] == name:
            cov_a[name] = accumulator(module, d_in, d_in)
        cov_g[name] = accumulator(module, d_out, d_out)
    return cov_a, cov_g


def _traces(covariances: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One number a module that is finite only if its covariance is: every entry is bounded by the trace."""
    return {name: covariance.trace() for name, covariance in covariances.items()}


def eigenbases(covariances: Covariances) -> dict[str, Eigenbasis]:
    """Return every module's eigenbasis; empties the covariances as it goes, so that memory falls."""
    sides_a = {
        name: eigendecomposition(covariances.cov_a.pop(name), f"activations of module {name!r}")
        for name in list(covariances.cov_a)
    }
    bases = {}
    for name, leader in covariances.leaders.items():
        q_g, values_g = eigendecomposition(
            covariances.cov_g.pop(name), f"output gradients of module {name!r}"
        )
        q_a, values_a = sides_a[leader]
        bases[name] = Eigenbasis(q_a, q_g, values_a, values_g)
    return bases


def eigendecomposition(
    covariance: Float[Tensor, "d d"], what: str
) -> tuple[Float[Tensor, "d d"], Float[Tensor, " d"]]:
    """Return eigenvectors, one a column, and eigenvalues ≥ 0, ascending; computed in fp64.

    Parameters
    ----------
    covariance
        Symmetric but for rounding.
    what
        Of what, for the message.

    Returns
    -------
    tuple
        In the dtype of `covariance`.

    Raises
    ------
    DataError
        If no decomposition is found whose residual is small.
    """
    exact = covariance.double()
    exact = (exact + exact.mT) / 2
    norm, scale = exact.norm(), exact.diagonal().mean()
    residual = torch.inf
    for jitter in (0.0, 1e-10, 1e-7):  # a tiny ridge moves no eigenvector, but unties a stuck solver
        try:
            values, vectors = torch.linalg.eigh(exact + jitter * scale * torch.eye(len(exact)).to(exact))
        except torch.linalg.LinAlgError:
            continue
        residual = float((exact @ vectors - vectors * values).norm())
        if residual <= RESIDUAL * norm:
            return vectors.to(covariance.dtype).contiguous(), values.clamp(min=0).to(covariance.dtype)
    raise DataError(
        f"the covariance of the {what} ({len(exact)} wide, norm {float(norm):.3g}) has no "
        f"eigendecomposition with a relative residual below {RESIDUAL}; got {residual / float(norm):.3g}. "
        "Fit on other rows, or in fp32"
    )
