"""What a mixture is made of, in rows and tokens."""

import polars as pl

from infra_core.corpus.schema import Schema

COMPOSITION: Schema = {
    "domain": pl.String(),
    "band": pl.String(),
    "origin": pl.String(),  # kept | swapped_in | edited
    "rows": pl.Int64(),
    "tokens": pl.Int64(),  # prompt and response
}


def composition(mixture: pl.DataFrame) -> pl.DataFrame:
    """Count rows and tokens of a mixture by domain, band and origin; schema COMPOSITION."""
    return (
        mixture
        .group_by("domain", "band", "origin")
        .agg(rows=pl.len(), tokens=pl.col("tokens").cast(pl.Int64()).sum())
        .sort("domain", "band", "origin", nulls_last=True)
        .cast(pl.Schema(COMPOSITION))
    )
