"""The corrected eigenvalues in those bases: EK-FAC factors, one file a layer."""

from collections.abc import Sequence

from torch import nn

from infra_core.corpus import TokenizedExample
from infra_core.influence import FactorParams, Factors, bases_from_tensors
from infra_core.influence import fit_factors as run_fit
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.passes import Progress
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._factors import read_layers
from tasks._fits import Fit, fit_layers
from tasks._stage import RunContext, stage


@stage(version=1)
def fit_factors(
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    corpus: Artifact,
    eigenbasis: Artifact,
    params: FactorParams,
) -> None:
    """Fit the curvature along every direction of the eigenbases, on the same rows."""
    light = params.curvature in {"kfac", "identity"}
    fit_layers(ctx, out, Fit("fit_factors", factors_of, checkpoint, corpus, params, eigenbasis, light))


def factors_of(
    ctx: RunContext,
    model: nn.Module,
    rows: Sequence[TokenizedExample],
    params: FactorParams,
    given: Artifact,
    update: Progress,
) -> dict[str, Factors]:
    """Fit the factors of some layers in their bases."""
    bases = read_layers(ctx, given, bases_from_tensors, choose_blocks(model, params.modules))
    return run_fit(model, rows, params, bases, batch_tokens=ctx.micro_batch_tokens, progress=update)
