"""Covariances A of activations and G of output gradients, and the eigenbases that EK-FAC works in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.labels import fisher_labels
from infra_core.influence.passes import (
    BATCH_TOKENS,
    Progress,
    accumulator,
    fisher_batches,
    fitting_rows,
    quiet,
    require_finite,
)
from infra_core.influence.precision import add_product, operand
from infra_core.influence.tracking import Tracked, track, with_outputs
from infra_core.recipe import FactorParams
from infra_core.runtime.memory import give_back

STRIPS = 6
"""Into how many strips a covariance is cut, so that only what lies on or above its diagonal is computed."""

RESIDUAL = 1e-5
"""Largest ‖CQ − QΛ‖ / ‖C‖ and ‖QᵀQ − I‖ / √n of what is called an eigendecomposition."""

PROBES = 8
"""Random directions in which these two are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Covariances:
    """Uncentred covariances, averaged over predicting positions.

    Attributes
    ----------
    cov_a
        By the name of the first block that sees the activations.
    cov_g
        By the name of the first block of the same outputs.
    leaders, twins
        For each block the keys of its `cov_a` and of its `cov_g`.
    n_positions
        Positions averaged over, by leader: all that predict, or those that an expert was given.
    n_sequences
        Rows that they were in.
    """

    cov_a: dict[str, Tensor]
    cov_g: dict[str, Tensor]
    leaders: dict[str, str]
    twins: dict[str, str]
    n_positions: dict[str, int]
    n_sequences: int


@dataclass(frozen=True, slots=True, eq=False)
class Eigenbasis:
    """Eigenvectors of a block's two covariances, one a column, with their eigenvalues, ascending.

    Blocks fed with the same tensor hold the same `q_a` and `values_a` objects.

    Attributes
    ----------
    positions
        Positions of a sequence that the block is fed with, in the mean: what K-FAC multiplies by.
    """

    q_a: Float[Tensor, "d_in d_in"]
    q_g: Float[Tensor, "d_out d_out"]
    values_a: Float[Tensor, " d_in"]
    values_g: Float[Tensor, " d_out"]
    positions: float


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
    give_back()  # what the passes held, for what decomposing takes
    return eigenbases(covariances, params.decomposition)


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
        tracked = track(model, choose_blocks(model, params.modules, params.widest))
        twins = with_outputs(tracked.blocks)
        cov_a, cov_g = _accumulators(model, tracked)
        n_positions, n_sequences = dict.fromkeys(cov_a, 0), 0

        def on_input(leader: str, a: Tensor, _at: Tensor | None) -> None:
            add_gram(cov_a[leader], operand(a, params.products))
            n_positions[leader] += len(a)

        def on_gradient(name: str, _kept: None, g: Tensor) -> None:
            if twins[name] == name:
                add_gram(cov_g[name], operand(g, params.products))

        passes = fisher_batches(
            model,
            tracked,
            fitting_rows(examples, params),
            params,
            lambda _positions: (on_input, on_gradient),
            (batch_tokens, progress),
        )
        for _, rows in passes:
            n_sequences += len(rows)
            require_finite(_traces(cov_a), "activations", rows)
            require_finite(_traces(cov_g), "output gradients", rows)
    if not any(n_positions.values()):
        raise DataError("no example to fit factors on has two tokens or more; give examples")
    for leader, total in cov_a.items():
        _finish(total, n_positions[leader])
    for name, total in cov_g.items():
        _finish(total, n_positions[tracked.leaders[name]] * len(fisher_labels(params)))
    return Covariances(cov_a, cov_g, dict(tracked.leaders), twins, n_positions, n_sequences)


def _accumulators(model: nn.Module, tracked: Tracked) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    cov_a, cov_g, twins = {}, {}, with_outputs(tracked.blocks)
    for name, block in tracked.blocks.items():
        if tracked.leaders[name] == name:
            cov_a[name] = accumulator(model, block, block.d_in, block.d_in)
        if twins[name] == name:
            cov_g[name] = accumulator(model, block, block.d_out, block.d_out)
    return cov_a, cov_g


def add_gram(total: Float[Tensor, "d d"], rows: Float[Tensor, "N d"]) -> None:
    """Add rowsᵀ rows into the diagonal blocks of `total` and what lies above them: half of a full product.

    Below them `total` is left as it is; see `mirror`.
    """
    for start, stop in _strips(len(total)):
        add_product(total[start:stop, start:], rows[:, start:stop].mT, rows[:, start:])


def mirror(total: Float[Tensor, "d d"]) -> None:
    """Copy what `add_gram` computed to the other side of the diagonal."""
    for start, stop in _strips(len(total)):
        total[stop:, start:stop] = total[start:stop, stop:].mT


def _strips(width: int) -> list[tuple[int, int]]:
    step = max(64, -(-width // STRIPS))  # narrower ones cost more in calls than they save
    return [(start, min(start + step, width)) for start in range(0, width, step)]


def _finish(total: Tensor, n_positions: int) -> None:
    mirror(total)
    total /= max(n_positions, 1)  # an expert that was given nothing has no curvature


def _traces(covariances: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One number a block that is finite only if its covariance is: every entry is bounded by the trace."""
    return {name: covariance.trace() for name, covariance in covariances.items()}


def eigenbases(
    covariances: Covariances, decomposition: Literal["fp32"] | None = None
) -> dict[str, Eigenbasis]:
    """Return every module's eigenbasis; empties the covariances as it goes, so that memory falls."""
    sides_a = {
        name: eigendecomposition(
            covariances.cov_a.pop(name), f"activations of module {name!r}", decomposition
        )
        for name in list(covariances.cov_a)
    }
    sides_g = {
        name: eigendecomposition(
            covariances.cov_g.pop(name), f"output gradients of module {name!r}", decomposition
        )
        for name in list(covariances.cov_g)
    }
    bases = {}
    for name, leader in covariances.leaders.items():
        (q_a, values_a), (q_g, values_g) = sides_a[leader], sides_g[covariances.twins[name]]
        positions = covariances.n_positions[leader] / covariances.n_sequences
        bases[name] = Eigenbasis(q_a, q_g, values_a, values_g, positions)
    return bases


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
        one = torch.eye(len(exact), dtype=dtype, device=exact.device)
        try:
            values, vectors = torch.linalg.eigh(exact + jitter * exact.diagonal().mean() * one)
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
