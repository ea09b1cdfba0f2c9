"""Words as stretches of a response, so that they can be taken out as spans are."""

import polars as pl
from transformers import PreTrainedTokenizerBase

from infra_core.corpus.render import response_offsets, spans_of
from infra_core.corpus.schema import SPANS
from infra_core.corpus.segment import Rule

WORD_SPANS = {**SPANS, "token_class": pl.String()}


def word_spans(
    rows: pl.DataFrame, words: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, rule: Rule
) -> pl.DataFrame:
    """Return the characters that the tokens of each word begin in; kind, and whether last, are of its span.

    Parameters
    ----------
    rows
        Different rows with `example_id`, `prompt` and `response`.
    words
        `corpus.schema.TOKENED` of these.
    tokenizer
        That words were cut by.
    rule
        How responses are divided into spans.

    Returns
    -------
    DataFrame
        `WORD_SPANS`, where `span` numbers the words of a response.
    """
    begins = pl.Series(
        [[first for first, _ in offsets] for offsets in response_offsets(rows, tokenizer)],
        dtype=pl.List(pl.Int32()),
    )
    characters = (
        rows
        .select("example_id", end=pl.col("response").str.len_chars().cast(pl.Int32), start=begins)
        .explode("start")
        .with_columns(first=pl.int_range(pl.len(), dtype=pl.Int32()).over("example_id"))
    )
    found = words.join(characters, on=["example_id", "first"], how="inner", maintain_order="left")
    return (
        found
        .with_columns(
            span=pl.int_range(1, pl.len() + 1, dtype=pl.Int32()).over("example_id"),
            stop=pl.col("start").shift(-1).over("example_id").fill_null(pl.col("end")),
        )
        .sort("start", maintain_order=True)
        .join_asof(
            spans_of(rows, tokenizer, rule).select("example_id", "start", "kind", "last").sort("start"),
            on="start",
            by="example_id",
            check_sortedness=False,  # of groups it cannot be checked; both were just sorted
        )
        .sort("example_id", "span", maintain_order=True)
        .select(*WORD_SPANS)
    )
