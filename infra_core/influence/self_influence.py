"""Influence of an example on itself: how much it stands alone, which finds outliers and wrong labels."""

from collections.abc import Iterable, Mapping

import polars as pl
import torch
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.factors import Factors, IdentityFactors, bases_of, damped_inverse
from infra_core.influence.gradients import gradient_hooks
from infra_core.influence.kept import kept_passes
from infra_core.influence.labels import DATA
from infra_core.influence.passes import (
    BATCH_TOKENS,
    Progress,
    passing,
    quiet,
    send_gradients,
    track_factors,
)
from infra_core.lm.batching import predicting
from infra_core.recipe import ScoreParams

SELF_INFLUENCE = {"example_id": pl.String(), "self_influence": pl.Float64()}


def self_influence(
    model: nn.Module,
    factors: Mapping[str, Factors],
    examples: Iterable[TokenizedExample],
    params: ScoreParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> pl.DataFrame:
    r"""Return :math:`\nabla L^\top (H + \lambda I)^{-1} \nabla L` of every example.

    Its influence on the log-likelihood of its own scored tokens: never negative, one backward pass for all.

    Parameters
    ----------
    model
        The model that the factors were fitted on.
    factors
        From `fit_factors`.
    examples
        Training rows.
    params
        Damping; the token rule has no part in it.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    progress
        Called with (tokens done, tokens in all or None) after each batch.

    Returns
    -------
    DataFrame
        Of the SELF_INFLUENCE schema, in the order of the examples. Nats.
    """
    found: dict[int, tuple[str | None, float]] = {}
    with quiet(model):
        tracked = track_factors(model, factors)
        bases = bases_of(factors)
        inverses = {name: _inverse(one, params.damping) for name, one in factors.items()}
        totals: Tensor

        def add(name: str, row: int, gradient: Tensor) -> None:
            inverse = inverses[name]
            totals[row] += (
                gradient.square().sum()
                if inverse is None
                else (gradient.square() * inverse.to(gradient)).sum()
            )

        hooks = gradient_hooks(tracked, bases, add, params.products)
        kept = kept_passes(examples, model, tracked)
        for batch, rows in passing(model, examples, batch_tokens, progress):
            totals = torch.zeros(len(rows), dtype=torch.float64, device=batch.ids.device)
            send_gradients(model, tracked, batch, rows, [DATA], hooks(predicting(batch)), kept)
            for index, row, value in zip(batch.index, rows, totals.tolist(), strict=True):
                found[index] = (row.example_id, value)
    return pl.DataFrame([found[index] for index in sorted(found)], schema=SELF_INFLUENCE, orient="row")


def _inverse(factors: Factors, damping: float) -> Tensor | None:
    return None if isinstance(factors, IdentityFactors) else damped_inverse(factors, damping=damping)
