"""Fine-tune the model of a folder: in this process, or in several under torchrun that die with this one."""

import json
import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from infra_core import errors
from infra_core.corpus.example import TokenizedExample
from infra_core.lm.classes import PreTrainedModel
from infra_core.lm.load import load, load_tokenizer
from infra_core.recipe import TrainParams
from infra_core.runtime import CommandFailed, WorkerLost, run_supervised
from infra_core.training.adapters import ADAPTER, attach, merge
from infra_core.training.job import LOSSES_FILE, MARK, TRAINED, Job
from infra_core.training.place import HERE, Place
from infra_core.training.states import States

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]
Trained = tuple[PreTrainedModel, PreTrainedTokenizerBase, pl.DataFrame]
"""A model in the dtype that it was stored in, its tokenizer, and `LOSSES`."""

_KILLED = re.compile(r"exitcode\s*: -(?P<signal>\d+) ")
"""What torchrun says of a process that a signal ended."""


def fine_tune(
    model: Path,
    examples: Sequence[TokenizedExample],
    params: TrainParams,
    states: States,
    *,
    progress: Progress | None = None,
    place: Place = HERE,
) -> Trained:
    """Return the model of a folder after `train`, which says what the arguments are.

    Where adapters are trained they are merged, and also left in `states.folder`.

    Raises
    ------
    RequestError
        If the model cannot be divided as `place` asks.
    CommandFailed
        If one of several processes ends in another way than by an error meant for people.
    WorkerLost
        If one of them is killed.
    """
    if place.is_sharded:
        _check_divisible(model, params)
    if place.processes == 1 and not place.apart:
        from infra_core.training.sft import train  # loads Trainer, which takes seconds

        loaded, tokenizer = load(model, device=place.device)
        stored_as = loaded.dtype
        losses = train(loaded, examples, params, states, progress=progress, place=place)
    else:
        losses = _in_processes(model, examples, params, states, progress=progress, place=place)
        below = ADAPTER if params.lora is not None else TRAINED
        loaded, tokenizer, stored_as = _put_together(model, params, states.folder / below)
    # Trained in fp32; kept, scored and examined in the dtype that it will be served in.
    return loaded.to(stored_as), tokenizer, losses  # type: ignore[arg-type]


def _check_divisible(model: Path, params: TrainParams) -> None:
    # transformers 5.23 puts a tied head and its embedding into groups of their own; an optimiser step moves
    # one of them, and the head keeps its first weights.
    if AutoConfig.from_pretrained(model).tie_word_embeddings and params.lora is None:
        raise errors.RequestError(
            f"the output head of model {model} is its embedding, which fsdp cannot train here; take sharding "
            "ddp, or train adapters"
        )


def model_of(
    model: Path, params: TrainParams, state: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model of a folder as it was in a state of its training, as `fine_tune` returns one."""
    loaded, tokenizer, stored_as = _put_together(model, params, state)
    return loaded.to(stored_as), tokenizer  # type: ignore[arg-type]


def _put_together(
    model: Path, params: TrainParams, trained: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, torch.dtype]:
    """Return trained weights, or trained adapters, as one model; its tokenizer and the dtype of its base."""
    if params.lora is not None:
        base, tokenizer = load(model)
        stored_as = base.dtype
        return merge(attach(base.float(), trained)), tokenizer, stored_as
    load_tokenizer(model).save_pretrained(trained)
    whole, tokenizer = load(trained)
    return whole, tokenizer, AutoConfig.from_pretrained(model).dtype


def _in_processes(
    model: Path,
    examples: Sequence[TokenizedExample],
    params: TrainParams,
    states: States,
    *,
    progress: Progress | None,
    place: Place,
) -> pl.DataFrame:
    folder = states.folder
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        model=model,
        params=params,
        place=place,
        resume_from=states.resume_from,
        every_seconds=None if states.on_save is None else states.every_seconds,
    )
    job.write(folder, examples)

    def hear(line: str) -> None:
        if not line.startswith(MARK):
            logger.info("%s", line)
            return
        match json.loads(line.removeprefix(MARK)):
            case {"done": done, "total": total, "loss": loss}:
                if progress is not None:
                    progress(done, total, loss)
            case {"step": step, "state": state}:
                if states.on_save is not None:
                    states.on_save(step, Path(state))
                shutil.rmtree(state)
            case {"error": kind, "message": message}:
                raise getattr(errors, kind)(message)

    _run_processes(folder, place, hear)
    return pl.read_parquet(folder / LOSSES_FILE)


def _run_processes(folder: Path, place: Place, hear: Callable[[str], None]) -> None:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    worker = ("-m", "infra_core.training.worker", str(folder))
    argv = [*torchrun, f"--nproc-per-node={place.processes}", *worker]
    try:
        run_supervised(argv, hear, env=_environment(place), seconds=place.seconds)
    except CommandFailed as error:
        killed = _KILLED.search(error.tail)
        number = int(killed["signal"]) if killed else error.status - 128
        if number not in set(signal.Signals):
            raise
        raise WorkerLost(
            f"a process of the training was ended by {signal.Signals(number).name}; if nobody did that, the "
            "machine's memory may be too small. What was saved is kept"
        ) from error


def _environment(place: Place) -> dict[str, str]:
    if place.device != "cpu":
        return {}
    threads = max(1, (os.cpu_count() or 1) // place.processes)
    hidden = {"CUDA_VISIBLE_DEVICES": ""}  # devices that are there would be taken
    return hidden if "OMP_NUM_THREADS" in os.environ else {**hidden, "OMP_NUM_THREADS": str(threads)}
