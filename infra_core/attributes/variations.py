"""The same tables under influence that was taken otherwise: what keeps its sign, and what changes it."""

from collections.abc import Mapping

import polars as pl

from infra_core.attributes.places import clear_sign
from infra_core.attributes.steps import BEHAVIOUR
from infra_core.attributes.tokens import CLASS

BAND = "band"
OWN = "own"
ATTRIBUTES = (BAND, BEHAVIOUR, CLASS)

VARIED = {
    "attribute": pl.String(),  # band (nats an example) | behaviour | token_class (nats a token)
    "group": pl.String(),  # of queries
    "domain": pl.String(),
    "label": pl.String(),  # which band, behaviour or class
    "variation": pl.String(),
    "influence": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_problems": pl.Int32(),
    "turned": pl.Boolean(),  # another sign than under the recipe's own scores, and both clear of zero
}

Tables = Mapping[str, pl.DataFrame]
"""One of `ATTRIBUTES` → CELLS, STEPS or TOKENS."""


def compared(own: Tables, varied: Mapping[str, Tables]) -> pl.DataFrame:
    """Lay tables under each variation beside the recipe's own, a variation called `OWN`; schema VARIED.

    Rows stand in the order of the own ones. Without variations there is nothing to compare.
    """
    keys = ["group", "domain", "label"]
    frames = [pl.DataFrame(schema=VARIED)]
    for variation, tables in ({OWN: own} | dict(varied) if varied else {}).items():
        for attribute, found in tables.items():
            ours = _labelled(own[attribute], attribute).select(*keys, own_low="low", own_high="high")
            both = ours.join(_labelled(found, attribute), on=keys, maintain_order="left", nulls_equal=True)
            turned = clear_sign("own_low", "own_high") * clear_sign("low", "high") < 0
            told = {"attribute": pl.lit(attribute), "variation": pl.lit(variation), "turned": turned}
            frames.append(both.with_columns(**told).select(*VARIED).cast(pl.Schema(VARIED)))
    return pl.concat(frames)


def _labelled(found: pl.DataFrame, attribute: str) -> pl.DataFrame:
    whole = found.filter(pl.col("source").is_null()) if attribute == BAND else found
    label = pl.col(attribute).fill_null("unrated")
    return whole.select("group", "domain", "influence", "low", "high", "n_problems", label=label)
