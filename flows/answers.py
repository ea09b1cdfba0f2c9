"""What questions to an index came to."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from infra_core.store.artifact import Artifact


@dataclass(frozen=True)
class Answers:
    """Answers of the stage `ask`.

    Attributes
    ----------
    artifact
        Where all of it is.
    led
        The most helpful and most harmful examples of each group, scored exactly: `leading.parquet`.
    told
        How far the index is to be trusted: `agreement.json`.
    """

    artifact: Artifact
    led: pl.DataFrame
    told: dict[str, Any]

    def as_json(self) -> dict[str, object]:
        """Return the object that `infra ask --json` ends with."""
        return {"answers": self.artifact.uri, **self.told, "leading": self.led.to_dicts()}
