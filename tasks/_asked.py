"""Queries as they were collected: those that some objective asks for, as a table and as tokens."""

import polars as pl
from transformers import PreTrainedTokenizerBase

from infra_core.corpus import TokenizedExample
from infra_core.corpus.render import render
from infra_core.corpus.schema import QUERY
from infra_core.evaluation.answers import within_objectives
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_table
from tasks._stage import RunContext

QUERIES = "queries.parquet"


def asked_queries(ctx: RunContext, queries: Artifact) -> pl.DataFrame:
    """Read the queries that influence is asked on, in schema QUERY."""
    return within_objectives(read_table(ctx.store, queries, QUERIES, QUERY))


def query_examples(asked: pl.DataFrame, tokenizer: PreTrainedTokenizerBase) -> list[TokenizedExample]:
    """Return queries as rows of tokens, undivided, each called by its `query_id`."""
    return list(render(asked.rename({"query_id": "example_id"}), tokenizer, spans=None))


def query_groups(
    ctx: RunContext, queries: Artifact, tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[TokenizedExample]]:
    """Return the queries that influence is asked on as rows of tokens, by group."""
    groups = asked_queries(ctx, queries).group_by("group", maintain_order=True)
    return {str(group): query_examples(rows, tokenizer) for (group,), rows in groups}
