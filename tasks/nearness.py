"""How near each row is to each query, by the model's own embeddings: what the control RDS+ decides by."""

from collections.abc import Sequence

import polars as pl

from infra_core.corpus.schema import NEARNESS
from infra_core.lm.embedding import embed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._asked import asked_queries, query_examples
from tasks._checkpoint import load_to_pass
from tasks._in_context import in_context
from tasks._row_local import of_texts, part_by_part
from tasks._shares import share_out
from tasks._stage import RunContext, stage


@stage(version=1)
def nearness(
    ctx: RunContext, out: WorkDir, *, checkpoint: Artifact, corpus: Artifact, queries: Artifact
) -> None:
    """Write the cosine of every row that fits the model with every query of some objective, part by part."""
    pending = out.pending(of_texts(ctx, corpus, checkpoint=checkpoint.key, queries=queries.key))
    share_out(ctx, out, nearness_of_parts, pending, (checkpoint, corpus, queries))


def nearness_of_parts(
    ctx: RunContext, out: WorkDir, names: Sequence[str], given: tuple[Artifact, Artifact, Artifact]
) -> None:
    """Write the cosines of the rows of some parts."""
    checkpoint, corpus, queries = given
    model, tokenizer = load_to_pass(ctx, checkpoint)
    asked = asked_queries(ctx, queries)
    answers = query_examples(asked, tokenizer)
    wanted = embed(model, answers, batch_tokens=ctx.micro_batch_tokens)
    for name, rows in part_by_part(ctx, corpus, names, "nearness to queries"):
        examples, _ = in_context(rows, tokenizer, None, model)
        found = embed(model, examples, batch_tokens=ctx.micro_batch_tokens) @ wanted.T
        table = {"example_id": [example.example_id for example in examples], "cosines": found.tolist()}
        write_table(out, name, pl.DataFrame(table, schema=pl.Schema(NEARNESS)), NEARNESS)
