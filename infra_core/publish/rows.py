"""Rows of a mixture as trainers read them, and what of it differs from the corpus it was made of. Pure."""

import polars as pl

from infra_core.corpus.schema import MIXTURE, Schema

MESSAGES = pl.List(pl.Struct({"role": pl.String(), "content": pl.String()}))

PUBLISHED: Schema = {
    "example_id": pl.String(),
    "messages": MESSAGES,  # the prompt as user, the response as assistant
    **{name: kind for name, kind in MIXTURE.items() if name not in {"example_id", "prompt", "response"}},
}
"""A row of a mixture in chat format.

Prompt and response are in `messages` alone: TRL takes rows with a column `prompt` for another kind of data.
"""

CHANGES: Schema = {
    "example_id": pl.String(),
    "change": pl.String(),  # left | came | edited | weighed
    "reason": pl.String(),
    "other": pl.String(),  # example_id of the row that came for it, or that it came for or was cut from
    "domain": pl.String(),
    "source": pl.String(),
    "band": pl.String(),
    "tokens": pl.Int32(),
}
"""One row for each difference between a mixture and the corpus that it was made of."""

_CHANGE = {"swapped_in": "came", "edited": "edited", "kept": "weighed"}


def published(mixture: pl.DataFrame) -> pl.DataFrame:
    """Return rows of schema MIXTURE in schema PUBLISHED."""
    turns = [
        pl.struct(role=pl.lit(role), content=pl.col(column))
        for role, column in (("user", "prompt"), ("assistant", "response"))
    ]
    return mixture.with_columns(messages=pl.concat_list(turns)).select(*PUBLISHED).cast(pl.Schema(PUBLISHED))


def changes(mixture: pl.DataFrame, left: pl.DataFrame) -> pl.DataFrame:
    """List what left, what came, and what is cut or counts otherwise; schema CHANGES.

    Parameters
    ----------
    mixture
        Schema MIXTURE; texts may be missing.
    left
        Schema LEFT.
    """
    gone = left.with_columns(change=pl.lit("left"), other="replaced_by")
    here = mixture.filter((pl.col("origin") != "kept") | pl.col("weight").is_not_null()).with_columns(
        change=pl.col("origin").replace_strict(_CHANGE), other="replaces"
    )
    frames = [frame.select(*CHANGES).cast(pl.Schema(CHANGES)) for frame in (gone, here)]
    return pl.concat(frames)
