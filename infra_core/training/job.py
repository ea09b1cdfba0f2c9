"""What processes that train together are told, as a folder: no pickle, nothing inherited."""

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file

from infra_core.corpus.example import TokenizedExample
from infra_core.recipe import TrainParams
from infra_core.training.place import Place

MARK = "@infra "
"""Begins a line that the processes tell the one that waits for them; JSON follows."""

TRAINED, LOSSES_FILE = "trained", "losses.parquet"
"""What the processes leave in the folder; in place of the former, adapters if those were trained."""

_JOB, _EXAMPLES = "job.json", "examples.safetensors"


class Job(BaseModel, frozen=True):
    """One training run.

    Attributes
    ----------
    model
        Folder of the model to start from.
    every_seconds
        Time between states; without it none are saved.
    """

    model: Path
    params: TrainParams
    place: Place
    resume_from: Path | None = None
    every_seconds: float | None = None

    def write(self, folder: Path, examples: Sequence[TokenizedExample]) -> None:
        """Put the job and its rows into a folder."""
        rows = {
            "ids": torch.cat([example.ids for example in examples]),
            "scored": torch.cat([example.scored for example in examples]),
            "lengths": torch.tensor([len(example) for example in examples]),
            "weights": torch.tensor([example.weight for example in examples], dtype=torch.float64),
        }
        save_file(rows, folder / _EXAMPLES)
        (folder / _JOB).write_text(self.model_dump_json(), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "tuple[Job, list[TokenizedExample]]":
        """Return the job of a folder and its rows, in their order."""
        rows = load_file(folder / _EXAMPLES)
        lengths = rows["lengths"].tolist()
        parts = (rows["ids"].split(lengths), rows["scored"].split(lengths), rows["weights"].tolist())
        examples = [
            TokenizedExample(ids, scored, example_id=str(row), weight=weight)
            for row, (ids, scored, weight) in enumerate(zip(*parts, strict=True))
        ]
        return cls.model_validate_json((folder / _JOB).read_text(encoding="utf-8")), examples
