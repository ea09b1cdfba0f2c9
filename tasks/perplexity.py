"""How likely the model before fine-tuning finds each response: what perplexity controls decide by."""

from collections.abc import Sequence

from infra_core.corpus.schema import LIKELIHOODS
from infra_core.evaluation.likelihood import reference_likelihoods
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._checkpoint import load_to_pass
from tasks._row_local import of_texts, part_by_part
from tasks._shares import share_out
from tasks._stage import RunContext, stage


@stage(version=1)
def perplexity(ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, corpus: Artifact) -> None:
    """Write the NLL of every response that fits the model, part by part."""
    pending = out.pending(of_texts(ctx, corpus, checkpoint=checkpoint.key))
    share_out(ctx, out, perplexity_of_parts, pending, (checkpoint, corpus))


def perplexity_of_parts(
    ctx: RunContext, out: WorkDir, names: Sequence[str], given: tuple[Artifact, Artifact]
) -> None:
    """Write the NLL of every response of some parts."""
    checkpoint, corpus = given
    model, tokenizer = load_to_pass(ctx, checkpoint)
    for name, rows in part_by_part(ctx, corpus, names, "perplexity"):
        found = reference_likelihoods(model, tokenizer, rows, batch_tokens=ctx.micro_batch_tokens)
        write_table(out, name, found, LIKELIHOODS)
