"""Rows of influence: the sign, the sums and the ranks. Positive = helpful; the sign is applied here, once."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from infra_core.corpus.example import TokenizedExample
from infra_core.corpus.schema import SCORES
from infra_core.errors import DataError


def influence(slopes: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return I = −∇fᵀ (H + λI)⁻¹ ∇L, given the products ∇fᵀ (H + λI)⁻¹ ∇L. The one minus of the project."""
    return 0.0 - slopes  # not -slopes, which makes -0.0 of every token that is not scored


def score_rows(
    example: TokenizedExample, groups: Sequence[str], slopes: Float[Tensor, "Q T"]
) -> list[dict[str, object]]:
    """Return one SCORES row a group from the per-token products ∇fᵀ (H + λI)⁻¹ ∇L of an example.

    Parameters
    ----------
    example
        Of which `slopes` are; its spans are summed over.
    groups
        Names of the rows of `slopes`.
    slopes
        Entry t is about predicting token t.

    Returns
    -------
    list
        Σ tokens = Σ spans = influence, up to rounding to fp32.

    Raises
    ------
    DataError
        If a score is not finite.
    """
    tokens = influence(slopes).double().cpu()
    if not tokens.isfinite().all():
        raise DataError(
            f"the influence of example {example.example_id} is not finite; look at the row, or run the model "
            "in fp32 or bf16"
        )
    return [
        {
            "example_id": example.example_id,
            "group": group,
            "influence": values.sum().item(),
            "spans": span_sums(values, example).tolist(),
            "tokens": values.tolist(),
        }
        for group, values in zip(groups, tokens, strict=True)
    ]


def span_sums(tokens: Float[Tensor, " T"], example: TokenizedExample) -> Float[Tensor, " n_spans"]:
    """Sum token values over the example's spans."""
    return torch.stack([tokens[span.start : span.stop].sum() for span in example.spans])


def scores_frame(rows: Sequence[dict[str, object]], *, detailed: bool = False) -> pl.DataFrame:
    """Return rows as a frame of the SCORES schema, with the column `part` behind it if `detailed`."""
    schema = dict(SCORES) | ({"part": pl.String()} if detailed else {})
    return pl.DataFrame(rows, schema=schema, orient="row")


def mean_scores(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the mean of scores of the same examples, spans and tokens on the same groups.

    Parameters
    ----------
    tables
        Of the SCORES schema, with the same rows in the same order.

    Returns
    -------
    DataFrame
        Of the SCORES schema.

    Raises
    ------
    ValueError
        If rows differ, or have other spans or tokens.

    Examples
    --------
    >>> told = {"example_id": ["a"], "group": ["g"], "spans": [[0.0, 1.0]], "tokens": [[0.0, 1.0]]}
    >>> one, three = (pl.DataFrame(told | {"influence": [x]}) for x in (1.0, 3.0))
    >>> mean_scores([one, three])["influence"].to_list()
    [2.0]
    """
    first = tables[0]
    named, lengths = (pl.col("example_id", "group"), pl.col("spans", "tokens").list.len())
    if any(not table.select(named, lengths).equals(first.select(named, lengths)) for table in tables[1:]):
        raise ValueError("scores to be averaged are of other rows, or in another order")

    exact = {"influence": pl.Float64(), "spans": pl.List(pl.Float64()), "tokens": pl.List(pl.Float64())}
    numbered = [
        table.select(pl.col(name).cast(dtype).alias(f"{name} {number}") for name, dtype in exact.items())
        for number, table in enumerate(tables)
    ]
    means = [
        (reduce(add, (pl.col(f"{name} {number}") for number in range(len(tables)))) / len(tables))
        .cast(SCORES[name])
        .alias(name)
        for name in exact
    ]
    return first.select(named).hstack(pl.concat(numbered, how="horizontal").select(means))


def ranked(scores: pl.DataFrame) -> pl.DataFrame:
    """Add `rank` within each group, 1 = most helpful; ties are broken by example_id.

    Examples
    --------
    >>> ids, groups, values = ["b", "a", "c"], ["g"] * 3, [1.0, 1.0, 2.0]
    >>> frame = pl.DataFrame({"example_id": ids, "group": groups, "influence": values})
    >>> ranked(frame)["rank"].to_list()
    [3, 2, 1]
    """
    order = pl.struct(-pl.col("influence"), pl.col("example_id"))
    return scores.with_columns(order.rank("ordinal").over("group").cast(pl.Int32).alias("rank"))
