"""Corrected eigenvalues: the mean squared gradient of a sequence along each direction of a fixed basis."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError
from infra_core.influence.covariance import Eigenbasis, fit_eigenbasis
from infra_core.influence.factors import Factors, IdentityFactors, ModuleFactors
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
from infra_core.influence.tracking import (
    Tracked,
    capture,
    choose_modules,
    modules_shaped,
    track,
    weight_shape,
)
from infra_core.recipe import FactorParams


def fit_factors(
    model: nn.Module,
    examples: Iterable[TokenizedExample],
    params: FactorParams,
    bases: Mapping[str, Eigenbasis] | None = None,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> dict[str, Factors]:
    """Fit the curvature of the loss in every tracked module.

    Parameters
    ----------
    model
        A causal language model of transformers.
    examples
        Training rows; iterated over once, or twice if `bases` is not given.
    params
        Which modules, curvature, rows and labels.
    bases
        From `fit_eigenbasis` with the same model, rows and params; fitted first by default.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all or None) after each batch; starts over for each pass.

    Returns
    -------
    dict
        By module name. Identity curvature needs no pass over the examples.
    """
    if params.curvature == "identity":
        return {name: IdentityFactors() for name in choose_modules(model, params.modules)}
    if bases is None:
        bases = fit_eigenbasis(model, examples, params, batch_tokens=batch_tokens, progress=progress)
    rows = fitting_rows(examples, params)
    totals, n_sequences = _squared_gradients(model, rows, params, bases, batch_tokens, progress)
    return {
        name: ModuleFactors(basis.q_a, basis.q_g, totals[name] / n_sequences, n_sequences)
        for name, basis in bases.items()
    }


def _squared_gradients(
    model: nn.Module,
    examples: Iterable[TokenizedExample],
    params: FactorParams,
    bases: Mapping[str, Eigenbasis],
    batch_tokens: int,
    progress: Progress | None,
) -> tuple[dict[str, Tensor], int]:
    """Sum the squares of each sequence's rotated gradient, and count the sequences.

    Raises
    ------
    DataError
        If there are no sequences, or numbers stop being finite.
    """
    n_sequences = 0
    with quiet(model):
        shapes = {name: (len(basis.q_g), len(basis.q_a)) for name, basis in bases.items()}
        tracked = track(model, modules_shaped(model, shapes, "eigenbases"))
        _check_sharing(tracked, bases)
        totals = {
            name: accumulator(module, *weight_shape(module)) for name, module in tracked.modules.items()
        }
        q_a = {leader: bases[leader].q_a.to(totals[leader].device) for leader in tracked.leaders.values()}
        q_g = {name: bases[name].q_g.to(totals[name].device) for name in tracked.modules}
        for batch, rows in passing(model, examples, batch_tokens, progress):
            with _squaring(tracked, q_a, q_g, totals, predicting(batch)):
                differentiate(fisher_loss(model, batch, rows, params))
            n_sequences += len(rows)
            require_finite({name: total.sum() for name, total in totals.items()}, "gradients", rows)
    if not n_sequences:
        raise DataError("there are no examples to fit factors on; give some")
    return totals, n_sequences


def _squaring(
    tracked: Tracked,
    q_a: Mapping[str, Tensor],
    q_g: Mapping[str, Tensor],
    totals: Mapping[str, Tensor],
    positions: Bool[Tensor, "B T"],
) -> AbstractContextManager[None]:
    """Return the capture that adds a batch's squared gradients into `totals`."""
    lengths: list[int] = positions.sum(1).tolist()
    # Rotating tokens costs d² a token, once for all modules that share them; rotating gradients instead
    # costs d² for each of their outputs.
    widths = _widths_led(tracked)
    tokens_first = {leader: max(lengths) <= width for leader, width in widths.items()}

    def on_input(leader: str, a: Tensor) -> Tensor:
        basis = q_a[leader]
        return a.to(basis.dtype) @ basis if tokens_first[leader] else a.to(basis.dtype)

    def on_gradient(name: str, a: Tensor, g: Tensor) -> None:
        leader = tracked.leaders[name]
        add_squared_gradients(
            totals[name],
            a,
            g.to(q_g[name].dtype),
            lengths,
            q_a=None if tokens_first[leader] else q_a[leader],
            q_g=q_g[name],
        )

    return capture(tracked, positions, on_input, on_gradient)


def _check_sharing(tracked: Tracked, bases: Mapping[str, Eigenbasis]) -> None:
    for name, leader in tracked.leaders.items():
        one, other = bases[name].q_a, bases[leader].q_a
        if one is not other and not torch.equal(one, other):
            raise DataError(
                f"modules {leader!r} and {name!r} are fed with the same tensor but have different bases for "
                "it; fit their bases together"
            )


def _widths_led(tracked: Tracked) -> dict[str, int]:
    """Sum d_out over the modules that share each leader's activations."""
    widths: dict[str, int] = dict.fromkeys(tracked.leaders.values(), 0)
    for name, leader in tracked.leaders.items():
        widths[leader] += weight_shape(tracked.modules[name])[0]
    return widths


def add_squared_gradients(
    total: Float[Tensor, "d_out d_in"],
    a: Float[Tensor, "N d_in"],
    g: Float[Tensor, "N d_out"],
    lengths: list[int],
    *,
    q_a: Float[Tensor, "d_in d_in"] | None,
    q_g: Float[Tensor, "d_out d_out"] | None,
) -> None:
    """Add (Q_Gᵀ G_b Q_A)² of every sequence b, with G_b = Σ δₜ aₜᵀ over its rows, into `total`.

    One gradient exists at a time, whatever the batch. A side is rotated where that is cheaper: the rows
    before the product if they are fewer than the other side is wide, the gradient after it otherwise.

    Parameters
    ----------
    total
        Accumulator.
    a, g
        Activations and output gradients, sequence after sequence.
    lengths
        Rows of each sequence.
    q_a
        Basis of the activations; None where `a` is already rotated.
    q_g
        Basis of the output gradients; None where `g` is already rotated.
    """
    if q_g is not None and max(lengths, default=0) <= a.shape[1]:
        g, q_g = g @ q_g, None
    for a_b, g_b in zip(a.split(lengths), g.split(lengths), strict=True):
        gradient = g_b.mT @ a_b
        if q_a is not None:
            gradient = gradient @ q_a
        if q_g is not None:
            gradient = q_g.mT @ gradient
        total.addcmul_(gradient, gradient)
