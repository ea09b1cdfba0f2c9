"""States of a training on its way: where they go, and how far each is."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import distributed

from infra_core.errors import RequestError


@dataclass(frozen=True)
class States:
    """Where the states of a run under way are written, and what happens to them.

    Attributes
    ----------
    folder
        A local folder that a state lies in while it is handed on.
    resume_from
        A state that `on_save` was given in an earlier run with the same arguments.
    on_save
        Called with the optimiser step and the folder of its state, which is gone after the call. Without it
        nothing is saved.
    every_seconds
        Time between states, longer where saving would take more than a tenth of it; 0 saves after every step
        but the last. Steps after which the model is to be kept (`TrainParams.keep`) are saved as well.
    may_save
        Asked before each state.
    """

    folder: Path
    resume_from: Path | None = None
    on_save: Callable[[int, Path], None] | None = None
    every_seconds: float = math.inf
    may_save: Callable[[], bool] = lambda: True


def steps_after(shares: Iterable[float], steps: int) -> dict[int, list[float]]:
    """Return the optimiser steps, of so many, at which shares of them are done: step → shares.

    Raises
    ------
    RequestError
        If a share is not done before the last step.
    """
    found: dict[int, list[float]] = {}
    for share in shares:
        found.setdefault(max(1, int(steps * share)), []).append(share)
    if late := found.get(steps):
        raise RequestError(
            f"a training of {steps} optimiser step(s) has no state on its way after {late[0]:g} of them; "
            "train on more rows, or leave this share out"
        )
    return found


def shares_done(state: Path, shares: Iterable[float]) -> list[float]:
    """Return which of some shares of its training are just done in a state; mostly it lies between them."""
    from transformers.trainer import TRAINER_STATE_NAME  # seconds, which only a training need wait for

    told = json.loads((state / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    return steps_after(shares, int(told["max_steps"])).get(int(told["global_step"]), [])


def is_first() -> bool:
    """Whether this process speaks for all."""
    return not distributed.is_initialized() or distributed.get_rank() == 0
