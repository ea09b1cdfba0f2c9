"""What a training tells of its optimiser steps, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

LOSSES = {
    "optimiser_step": pl.Int32(),  # 1-based
    "scored_tokens": pl.Int32(),
    "nll_per_token": pl.Float64(),  # nats, before the step's update; as rows are weighted
    "learning_rate": pl.Float64(),
}


def losses_of(log: Sequence[Mapping[str, Any]], scored_tokens: Sequence[int]) -> pl.DataFrame:
    """Return `LOSSES` from the log of a `Trainer`, given how many tokens each step scores."""
    logged = [entry for entry in log if "loss" in entry]
    return pl.DataFrame(
        {
            "optimiser_step": [entry["step"] for entry in logged],
            "scored_tokens": [scored_tokens[int(entry["step"]) - 1] for entry in logged],
            "nll_per_token": [entry["loss"] for entry in logged],
            "learning_rate": [entry["learning_rate"] for entry in logged],
        },
        schema=LOSSES,
    )
