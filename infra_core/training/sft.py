"""Fine-tune a model on scored tokens with `transformers.Trainer`, saving and resuming by optimiser step.

Everything random is decided before the first step (`plan_steps`), so a resumed run continues exactly. Called
in each of several processes, it is the same training with the work divided (`launch`).
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from peft import PeftModel
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError
from infra_core.lm.batching import collate
from infra_core.lm.load import no_progress_bars
from infra_core.lm.objective import summed_loss
from infra_core.recipe import TrainParams
from infra_core.training.adapters import ADAPTER, adapt, merge, save_adapters
from infra_core.training.labels import NOT_SCORED, from_labels, to_labels
from infra_core.training.losses import losses_of
from infra_core.training.place import HERE, Place
from infra_core.training.plan import micro_batches, plan_steps
from infra_core.training.sharding import resumable, trains_shares
from infra_core.training.states import States, is_first, steps_after
from infra_core.training.watch import Watch

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def trainable(examples: Sequence[TokenizedExample], max_tokens: int) -> list[TokenizedExample]:
    """Return the examples that training uses: not too long, and with something to learn."""
    return [example for example in examples if len(example) <= max_tokens and bool(example.scored.any())]


def train(
    model: PreTrainedModel,
    examples: Sequence[TokenizedExample],
    params: TrainParams,
    states: States,
    *,
    progress: Callable[[int, int, float], None] | None = None,
    place: Place = HERE,
) -> pl.DataFrame:
    """Train `model` in place and return one row of `LOSSES` an optimiser step.

    An optimiser step minimises the summed NLL of its scored tokens, each times the weight of its row,
    divided by their number. On a CPU the result is the same to the last bit for the same inputs and
    threads, however often it was resumed.

    Parameters
    ----------
    model
        Changed in place. Master weights are fp32, whatever `params.precision` is. Adapters, if they are what
        trains, are left in the folder of the states and merged, unless others hold a part of the model.
    examples
        What to train on; see `trainable` for those that are left out.
    params
        Schedule, sizes and the seed.
    states
        Saving and resuming.
    progress
        Called after each optimiser step with steps done, steps in all, and the NLL per scored token.
    place
        Devices and memory; moves results by rounding only.

    Raises
    ------
    DataError
        If no example is trainable.
    RequestError
        If training is too short for a state that is to be kept.
    """
    rows = trainable(examples, params.max_tokens)
    if not rows:
        raise DataError(
            f"none of the {len(examples)} examples has scored tokens and at most {params.max_tokens} tokens; "
            "raise train.max_tokens or look at what was dropped"
        )
    lengths = [len(row) for row in rows]
    steps = plan_steps(lengths, params.batch_tokens, params.epochs, params.seed)
    split = micro_batches(steps, lengths, place.micro_batch_tokens, place.processes)
    if not place.is_sharded:
        model.float()
    trained = adapt(model, params.lora, params.seed) if params.lora else model
    resume_from = states.resume_from
    if resume_from is not None and trains_shares(trained):
        resume_from = resumable(trained, resume_from, states.folder / "resumed")
    trainer = Trainer(
        model=trained,
        args=_arguments(params, len(steps), len(split[0]) // place.processes, states.folder, place),
        train_dataset=_MicroBatches(rows, [group for groups in split for group in groups]),
        data_collator=_only,
        compute_loss_func=_mean_nll,
        callbacks=[Watch(states, progress, steps_after(params.keep or (), len(steps)))],
    )
    trainer.remove_callback(PrinterCallback)
    with no_progress_bars():
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    _finish(trained, states.folder, place)
    return losses_of(
        trainer.state.log_history, [sum(int(rows[row].scored.sum()) for row in step) for step in steps]
    )


def _finish(trained: PreTrainedModel | PeftModel, folder: Path, place: Place) -> None:
    """Leave a model as it came, but for its weights."""
    trained.eval()
    if place.recompute:
        trained.activation_checkpointing_disable()
    if isinstance(trained, PeftModel):
        save_adapters(trained, folder / ADAPTER, writes=is_first())
        if place.processes == 1:
            merge(trained)


class _MicroBatches(Dataset[dict[str, Any]]):
    """Ready micro-batches in the order of training."""

    def __init__(self, rows: Sequence[TokenizedExample], groups: Sequence[Sequence[int]]) -> None:
        self.rows, self.groups = rows, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> dict[str, Any]:
        group = self.groups[number]
        if not group:  # filler: one position that nothing is learnt from
            nothing = torch.zeros(1, 1, dtype=torch.int64)
            return {"input_ids": nothing, "labels": nothing + NOT_SCORED, "use_cache": False}
        batch = collate([self.rows[row] for row in group])
        return {
            "input_ids": batch.ids,
            "attention_mask": batch.attention_mask.long(),
            "labels": to_labels(batch),
            "use_cache": False,
        }


def _arguments(
    params: TrainParams, steps: int, accumulation: int, workdir: Path, place: Place
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(workdir),
        max_steps=steps,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=1,  # an item of the dataset is a micro-batch
        train_sampling_strategy="sequential",
        learning_rate=params.learning_rate,
        lr_scheduler_type=_SCHEDULES[params.schedule],
        warmup_steps=math.ceil(params.warmup_fraction * steps),
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        bf16=params.precision == "bf16",
        seed=params.seed % 2**32,  # numpy takes no larger one
        use_cpu=place.device == "cpu",
        activation_checkpointing=place.recompute,
        ddp_find_unused_parameters=False,
        # Otherwise each process would sum a step's gradients of all weights before it keeps its share.
        accelerator_config={"gradient_accumulation_kwargs": {"sync_each_batch": place.is_sharded}},
        label_names=["labels"],  # which cannot be seen through adapters
        save_strategy="no",  # saving is ours: by the clock
        logging_steps=1,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
    )


def _only(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


def _mean_nll(outputs: Any, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:
    # The divisor counts the scored tokens of the whole optimiser step, so micro-batches add up to its mean.
    # It counts each once: a row of weight 2 adds twice its gradient, whatever is beside it.
    return summed_loss(outputs.logits, *from_labels(labels)) / num_items_in_batch
