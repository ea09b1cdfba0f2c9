"""The corrected eigenvalues in those bases: EK-FAC factors, one file a layer."""

from infra_core.influence import FactorParams, bases_from_tensors
from infra_core.influence import fit_factors as run_fit
from infra_core.influence.blocks import choose_blocks
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._checkpoint import load_checkpoint
from tasks._factors import fit_rows, in_ranges, note_probe, pending_modules, read_layers, write_layers
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
    model, tokenizer = load_checkpoint(ctx, checkpoint, params.modules)
    pending = pending_modules(out, model, params)
    if not pending:
        return
    examples = fit_rows(ctx, corpus, tokenizer, model)
    note_probe(out, model, examples, params.modules)
    for part, rows, update in in_ranges(ctx, "fit_factors", model, examples, pending, params):
        factors = run_fit(
            model,
            rows,
            part,
            read_layers(ctx, eigenbasis, bases_from_tensors, choose_blocks(model, part.modules)),
            batch_tokens=ctx.micro_batch_tokens,
            progress=update,
        )
        write_layers(out, factors)
        del factors  # before those of the next turn come
