"""Corrected eigenvalues: the mean squared gradient of a sequence along each direction of a fixed basis."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError
from infra_core.influence.blocks import blocks_shaped, choose_blocks
from infra_core.influence.covariance import Eigenbasis, fit_eigenbasis
from infra_core.influence.factors import (
    DiagonalFactors,
    Factors,
    IdentityFactors,
    ModuleFactors,
    bases_of,
)
from infra_core.influence.gradients import Basis, gradient_hooks
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
from infra_core.influence.tracking import Tracked, track
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
        return {name: IdentityFactors() for name in choose_blocks(model, params.modules)}
    if params.curvature == "diagonal":
        blocks = dict.fromkeys(choose_blocks(model, params.modules), None)
        squares, n = _squared_gradients(model, examples, params, blocks, (batch_tokens, progress))
        return {name: DiagonalFactors(total / n, n) for name, total in squares.items()}
    if bases is None:
        bases = fit_eigenbasis(model, examples, params, batch_tokens=batch_tokens, progress=progress)
    if params.curvature == "kfac":
        return {name: kfac_factors(basis) for name, basis in bases.items()}
    squares, n = _squared_gradients(model, examples, params, bases, (batch_tokens, progress))
    return {name: ModuleFactors(one.q_a, one.q_g, squares[name] / n, n) for name, one in bases.items()}


def eigenvalues_along(
    model: nn.Module,
    examples: Iterable[TokenizedExample],
    factors: Mapping[str, Factors],
    params: FactorParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Return Λ of these rows along the directions of factors that were fitted on others, by block name.

    Parameters
    ----------
    model, factors, params
        Those that were fitted; `params` say how many of the rows are taken, and under whose labels.
    examples
        Rows.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all or None) after each batch.
    """
    squares, n = _squared_gradients(model, examples, params, bases_of(factors), (batch_tokens, progress))
    return {name: total / n for name, total in squares.items()}


def kfac_factors(basis: Eigenbasis) -> ModuleFactors:
    """Return A ⊗ G itself: of a sequence, were its positions independent of each other."""
    eigenvalues = basis.positions * torch.outer(basis.values_g, basis.values_a)
    return ModuleFactors(basis.q_a, basis.q_g, eigenvalues, n_sequences=0)


def _squared_gradients(
    model: nn.Module,
    examples: Iterable[TokenizedExample],
    params: FactorParams,
    bases: Mapping[str, Basis | None],
    batches_of: tuple[int, Progress | None],
) -> tuple[dict[str, Tensor], int]:
    """Sum the squares of each sequence's gradient, rotated where there is a basis, and count the gradients.

    Raises
    ------
    DataError
        If there are no sequences, or numbers stop being finite.
    """
    n_gradients = 0
    with quiet(model):
        shapes = {name: (len(basis.q_g), len(basis.q_a)) if basis else None for name, basis in bases.items()}
        tracked = track(model, blocks_shaped(model, shapes, "eigenbases"))
        _check_sharing(tracked, bases)
        totals = {name: accumulator(model, block, *block.shape) for name, block in tracked.blocks.items()}

        def square(name: str, _row: int, gradient: Tensor) -> None:
            totals[name].addcmul_(gradient, gradient)

        hooks = gradient_hooks(tracked, bases, square, params.products)
        fitted_on = fitting_rows(examples, params)
        for _, rows in fisher_batches(model, tracked, fitted_on, params, hooks, batches_of):
            n_gradients += len(rows) * len(fisher_labels(params))
            require_finite({name: total.sum() for name, total in totals.items()}, "gradients", rows)
    if not n_gradients:
        raise DataError("there are no examples to fit factors on; give some")
    return totals, n_gradients


def _check_sharing(tracked: Tracked, bases: Mapping[str, Basis | None]) -> None:
    for name, leader in tracked.leaders.items():
        one, other = bases[name], bases[leader]
        if one is None or other is None or one.q_a is other.q_a:
            continue
        if not torch.equal(one.q_a, other.q_a):
            raise DataError(
                f"modules {leader!r} and {name!r} are fed with the same tensor but have different bases for "
                "it; fit their bases together"
            )
