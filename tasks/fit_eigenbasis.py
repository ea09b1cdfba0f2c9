"""The Kronecker eigenbases of the tracked modules, one file a layer."""

from infra_core.influence import FactorParams
from infra_core.influence import fit_eigenbasis as run_fit
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._checkpoint import load_checkpoint
from tasks._factors import fit_rows, in_ranges, pending_modules, write_layers
from tasks._stage import RunContext, stage


@stage(version=3)
def fit_eigenbasis(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, corpus: Artifact, params: FactorParams
) -> None:
    """Accumulate activation and gradient covariances over the fit rows and diagonalise them."""
    if params.curvature in {"diagonal", "identity"}:  # which are in no basis but the weights' own
        return
    model, tokenizer = load_checkpoint(ctx, checkpoint, params.modules)
    pending = pending_modules(out, model, params)
    if not pending:
        return
    examples = fit_rows(ctx, corpus, tokenizer, model)
    # Each module's basis depends on that module alone, so the layers that are done need no second pass.
    for part, rows, update in in_ranges(ctx, "fit_eigenbasis", model, examples, pending, params):
        # Under no name, so that one turn's are gone when the next one's come.
        write_layers(out, run_fit(model, rows, part, batch_tokens=ctx.micro_batch_tokens, progress=update))
