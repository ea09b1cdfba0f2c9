"""How long the gradient of every training example is, to see what influence of unit gradients says."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.schema import GRADIENT_NORMS, distinct
from infra_core.influence import IdentityFactors, ScoreParams, self_influence
from infra_core.influence.blocks import choose_blocks
from infra_core.recipe import Params, Recipe
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._checkpoint import load_to_pass
from tasks._in_context import in_context
from tasks._row_local import of_texts, part_by_part
from tasks._shares import share_out
from tasks._stage import RunContext, stage


class GradientRun(Params):
    """Of which weights."""

    modules: str

    @classmethod
    def of(cls, given: Recipe) -> "GradientRun":
        """Take those that influence is of."""
        return cls(modules=given.factors.modules)


@stage(version=1)
def gradient_norms(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, corpus: Artifact, params: GradientRun
) -> None:
    """Write the length of the gradient of every row that fits the model, part by part."""
    pending = out.pending(of_texts(ctx, corpus, checkpoint=checkpoint.key, params=params))
    share_out(ctx, out, norms_of_parts, pending, Measured(checkpoint, corpus, params.modules))


@dataclass(frozen=True)
class Measured:
    """What measuring the gradients of a pool needs."""

    checkpoint: Artifact
    corpus: Artifact
    modules: str


def norms_of_parts(ctx: RunContext, out: WorkDir, names: Sequence[str], given: Measured) -> None:
    """Measure the gradients of some parts."""
    model, tokenizer = load_to_pass(ctx, given.checkpoint, given.modules)
    plain = {name: IdentityFactors() for name in choose_blocks(model, given.modules)}
    # With identity curvature an example's influence on itself is the square of its gradient's length.
    params = ScoreParams(token_rule="position")
    for name, rows in part_by_part(ctx, given.corpus, names, "gradient norms"):
        fitting, _ = in_context(distinct(rows), tokenizer, None, model)
        found = self_influence(model, plain, fitting, params, batch_tokens=ctx.micro_batch_tokens)
        norms = found.select("example_id", gradient_norm=pl.col("self_influence").sqrt())
        write_table(out, name, norms, GRADIENT_NORMS)
