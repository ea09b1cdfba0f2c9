"""Saving on the way: when, and who says so where several processes train together."""

import math
import shutil
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from infra_core.errors import RequestError
from infra_core.training.sharding import restore, trains_shares, write_moments
from infra_core.training.states import States, is_first


class Watch(TrainerCallback):
    """Reports progress, saves by the clock, and hands every saved state on."""

    def __init__(
        self,
        states: States,
        progress: Callable[[int, int, float], None] | None,
        wanted: Iterable[int] = (),
    ) -> None:
        self.states, self.progress, self.saved_at = states, progress, time.monotonic()
        self.wanted = frozenset(wanted)  # steps after which a state is saved whatever the clock says
        self.pause = states.every_seconds

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **training: Any,
    ) -> None:
        """Load what `Trainer` could not: a state's moments, where they are divided."""
        if self.states.resume_from is not None and trains_shares(training["model"]):
            restore(
                training["model"], training["optimizer"], training["lr_scheduler"], self.states.resume_from
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Have a state saved if one is due."""
        if self.states.on_save is None or state.global_step >= state.max_steps:
            return
        due = time.monotonic() - self.saved_at >= self.pause and self.states.may_save()
        if _as_the_first_says(due, args.device) or state.global_step in self.wanted:
            control.should_save = True
            self.saved_at = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Report the step's loss.

        Raises
        ------
        RequestError
            If it is no number.
        """
        if logs is None or "loss" not in logs:  # the summary after the last step
            return
        if not math.isfinite(logs["loss"]):
            raise RequestError(
                f"the loss is {logs['loss']} at optimiser step {state.global_step} of {state.max_steps}; "
                "lower train.learning_rate"
            )
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps, logs["loss"])

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **training: Any
    ) -> None:
        """Hand the state on."""
        folder = self.states.folder / f"checkpoint-{state.global_step}"
        if trains_shares(training["model"]):
            write_moments(training["model"], training["optimizer"], folder)
        if distributed.is_initialized():
            distributed.barrier()  # each process writes its own random state
        if is_first():
            if self.states.on_save is not None:
                self.states.on_save(state.global_step, folder)
            shutil.rmtree(folder, ignore_errors=True)  # gone if it was moved
        began, self.saved_at = self.saved_at, time.monotonic()
        if self.states.every_seconds:
            self.pause = max(self.states.every_seconds, 9 * (self.saved_at - began))


def _as_the_first_says(due: bool, device: torch.device) -> bool:
    """Return what the first process decided: clocks differ, and all must save at the same step."""
    if not distributed.is_initialized():
        return due
    said = torch.tensor(int(due), device=device)
    distributed.broadcast(said, src=0)
    return bool(said)
