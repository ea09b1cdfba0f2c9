"""The Kronecker eigenbases of the tracked modules, one file a layer."""

from collections.abc import Sequence

from torch import nn

from infra_core.corpus import TokenizedExample
from infra_core.influence import FactorParams
from infra_core.influence import fit_eigenbasis as run_fit
from infra_core.influence.covariance import Eigenbasis
from infra_core.influence.passes import Progress
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._fits import Fit, fit_layers
from tasks._stage import RunContext, stage


@stage(version=3)
def fit_eigenbasis(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, corpus: Artifact, params: FactorParams
) -> None:
    """Accumulate activation and gradient covariances over the fit rows and diagonalise them."""
    if params.curvature in {"diagonal", "identity"}:  # which are in no basis but the weights' own
        return
    fit_layers(ctx, out, Fit("fit_eigenbasis", bases_of, checkpoint, corpus, params))


def bases_of(
    ctx: RunContext,
    model: nn.Module,
    rows: Sequence[TokenizedExample],
    params: FactorParams,
    _given: Artifact | None,
    update: Progress,
) -> dict[str, Eigenbasis]:
    """Fit the bases of some layers; each module's depends on that module alone."""
    return run_fit(model, rows, params, batch_tokens=ctx.micro_batch_tokens, progress=update)
