"""The Kronecker eigenbases of the tracked modules, one file a layer."""

import re

from infra_core.influence import FactorParams
from infra_core.influence import fit_eigenbasis as run_fit
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._checkpoint import load_checkpoint
from tasks._factors import fit_rows, pending_modules, write_layers
from tasks._progress import progress
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
    # Each module's basis depends on that module alone, so the layers that are done need no second pass.
    only = params.model_copy(update={"modules": "|".join(f"^{re.escape(name)}$" for name in pending)})
    examples = fit_rows(ctx, corpus, tokenizer, model)
    with progress("fit eigenbasis, tokens", sum(map(len, examples))) as update:
        bases = run_fit(model, examples, only, batch_tokens=ctx.micro_batch_tokens, progress=update)
    write_layers(out, bases)
