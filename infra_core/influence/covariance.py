"""Covariances A of activations and G of output gradients, and the eigenbases that EK-FAC works in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.decomposition import eigendecomposition
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
    sides_a = _decomposed(covariances.cov_a, "activations", decomposition)
    sides_g = _decomposed(covariances.cov_g, "output gradients", decomposition)
    bases = {}
    for name, leader in covariances.leaders.items():
        (q_a, values_a), (q_g, values_g) = sides_a[leader], sides_g[covariances.twins[name]]
        positions = covariances.n_positions[leader] / covariances.n_sequences
        bases[name] = Eigenbasis(q_a, q_g, values_a, values_g, positions)
    return bases


def _decomposed(
    covariances: dict[str, Tensor], what: str, decomposition: Literal["fp32"] | None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return eigenvectors and eigenvalues by module; empties what it is given."""
    found = {}
    for name in list(covariances):
        found[name] = eigendecomposition(covariances.pop(name), f"{what} of module {name!r}", decomposition)
        give_back()  # the covariance and its copies; else what each one leaves behind adds up
    return found
