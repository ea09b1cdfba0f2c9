"""What a mixture is made of, in rows and tokens."""

import polars as pl

from infra_core.corpus.schema import Schema

COMPOSITION: Schema = {
    "domain": pl.String(),
    "band": pl.String(),
    "origin": pl.String(),  # kept | swapped_in
    "rows": pl.Int64(),
    "tokens": pl.Int64(),  # prompt and response
}


def composition(mixture: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """Count rows and tokens of a mixture by domain, band and origin; schema COMPOSITION."""
    bands = ratings.select(
        "example_id",
        "band",
        origin=pl.col("pool").replace({"corpus": "kept", "reserve": "swapped_in"}),
        tokens=(pl.col("prompt_tokens") + pl.col("response_tokens")).cast(pl.Int64),
    ).unique(["example_id", "origin"], keep="first", maintain_order=True)
    return (
        mixture
        .join(bands, on=["example_id", "origin"], how="left")
        .group_by("domain", "band", "origin")
        .agg(rows=pl.len(), tokens=pl.col("tokens").sum())
        .sort("domain", "band", "origin", nulls_last=True)
        .cast(pl.Schema(COMPOSITION))
    )
