"""The Kronecker eigenbases of the tracked modules, one file a layer."""

from infra_core.influence import FactorParams
from infra_core.influence import fit_eigenbasis as run_fit
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._checkpoint import load_checkpoint
from tasks._factors import fit_rows, write_layers
from tasks._progress import progress
from tasks._stage import RunContext, stage


@stage(version=1)
def fit_eigenbasis(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, corpus: Artifact, params: FactorParams
) -> None:
    """Accumulate activation and gradient covariances over the fit rows and diagonalise them."""
    model, tokenizer = load_checkpoint(ctx, checkpoint)
    examples = fit_rows(ctx, corpus, tokenizer, model, params)
    with progress("fit eigenbasis, tokens", sum(map(len, examples))) as update:
        bases = run_fit(model, examples, params, batch_tokens=ctx.micro_batch_tokens, progress=update)
    write_layers(out, bases)
