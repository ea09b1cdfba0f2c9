"""How far scores of compressed queries, or of an index, are from exact ones: measured, never assumed."""

from collections.abc import Sequence

import polars as pl
from torch import nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.attribute import score_examples
from infra_core.influence.compress import Compressed
from infra_core.influence.passes import BATCH_TOKENS
from infra_core.recipe import ScoreParams

AGREEMENT = pl.Schema({"group": pl.String, "pearson": pl.Float64, "spearman": pl.Float64, "n": pl.UInt32})


def agreement(
    model: nn.Module,
    compressed: Compressed,
    examples: Sequence[TokenizedExample],
    params: ScoreParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> pl.DataFrame:
    """Score examples with a few groups' directions before and after compression.

    Parameters
    ----------
    model
        That the queries were compressed with.
    compressed
        From `compress_queries`, which kept some exact directions.
    examples
        Rows to compare on; ten or more, or a rank correlation says little.
    params
        Token rule.
    batch_tokens
        Padded positions a batch.

    Returns
    -------
    DataFrame
        Of the AGREEMENT schema: for each group whose exact direction was kept, the correlation between
        exact and compressed influence over n examples.
    """
    exact = score_examples(model, compressed.exact, examples, params, batch_tokens=batch_tokens)
    found = score_examples(model, compressed, examples, params, batch_tokens=batch_tokens)
    return correlated(exact, found)


def correlated(exact: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return the correlation of two tables of influence, of the same examples in the same order, by group.

    Returns
    -------
    DataFrame
        Of the AGREEMENT schema.
    """
    numbered = [
        frame.select("group", "influence", row=pl.int_range(pl.len()).over("group"))
        for frame in (exact, found)
    ]
    both = numbered[0].join(numbered[1], on=["group", "row"], suffix="_found")
    pair = ("influence", "influence_found")
    return (
        both
        .group_by("group", maintain_order=True)
        .agg(
            pearson=pl.corr(*pair, method="pearson"),
            spearman=pl.corr(*pair, method="spearman"),
            n=pl.len(),
        )
        .cast(AGREEMENT)
    )
