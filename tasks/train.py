"""Supervised fine-tuning of a checkpoint on a corpus; saved as it goes, resumed where it died."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from infra_core.corpus.render import render
from infra_core.corpus.schema import MIXTURE
from infra_core.errors import DataError
from infra_core.lm.load import load_tokenizer, save
from infra_core.recipe import TrainParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import read_tables, write_table
from infra_core.training.adapters import ADAPTER, adapter_files
from infra_core.training.launch import fine_tune, model_of
from infra_core.training.losses import LOSSES
from infra_core.training.place import Place
from infra_core.training.states import States, shares_done
from tasks._checkpoint import after, model_folder
from tasks._pools import pool_rows
from tasks._progress import progress
from tasks._stage import RunContext, stage
from tasks.base import MODEL
from tasks.mix import mix

LEFT_OUT = {"example_id": pl.String(), "tokens": pl.Int32(), "reason": pl.String()}


@stage(version=1)
def train(ctx: RunContext, out: WorkDir, *, base: Artifact, corpus: Artifact, params: TrainParams) -> None:
    """Fine-tune `base` on every row of `corpus` that fits; rows that do not are listed, not lost.

    After each share of training in `params.keep` the model is left as well, as it was then.

    Raises
    ------
    DataError
        If no row fits.
    """
    model = model_folder(ctx, base)
    rows = training_rows(ctx, corpus)
    examples, left_out = [], []
    for example in render(rows, load_tokenizer(model), spans=None):
        if len(example) <= params.max_tokens:
            examples.append(example)
        else:
            left_out.append((example.example_id, len(example), f"longer than max_tokens {params.max_tokens}"))
    if not examples:
        longest = f"max_tokens {params.max_tokens}"
        raise DataError(f"no row of {corpus.uri} fits {longest}: all {len(left_out)} are longer; raise it")
    state = out.latest_state()

    def save_state(step: int, folder: Path) -> None:
        for share in shares_done(folder, params.keep or ()):
            keep(out, model, params, folder, share)
        out.save_state(f"step-{step:07d}", folder)

    with TemporaryDirectory() as scratch, progress("train", 1) as update:
        trained, tokenizer, losses = fine_tune(
            model,
            examples,
            params,
            States(
                Path(scratch),
                resume_from=state[1] if state else None,
                on_save=save_state,
                every_seconds=ctx.save_seconds,
            ),
            progress=lambda done, total, loss: update(done, total),
            place=place_of(ctx),
        )
        save(trained, tokenizer, Path(scratch, "final"))
        out.put_folder(MODEL, Path(scratch, "final"))
        if params.lora is not None:
            out.put_folder(ADAPTER, Path(scratch, ADAPTER))
    write_table(out, "losses.parquet", losses, LOSSES)
    write_table(out, "left_out.parquet", pl.DataFrame(left_out, schema=LEFT_OUT, orient="row"), LEFT_OUT)


def keep(out: WorkDir, model: Path, params: TrainParams, state: Path, share: float) -> None:
    """Leave the model of a state in the form of the trained one, below a folder that says when it was."""
    with TemporaryDirectory() as scratch:
        save(*model_of(model, params, state), Path(scratch))
        out.put_folder(after(share, MODEL), Path(scratch))
    if params.lora is not None:
        with TemporaryDirectory() as scratch:
            for name in adapter_files():
                shutil.copy(state / name, scratch)
            out.put_folder(after(share, ADAPTER), Path(scratch))


def training_rows(ctx: RunContext, corpus: Artifact) -> pl.DataFrame:
    """Return the texts to train on; of a mixture also how much each counts, and what of it does not."""
    columns = ("example_id", "prompt", "response")
    if corpus.stage != mix.name:
        return pool_rows(ctx, corpus, *columns)
    return read_tables(
        ctx.store, corpus, {name: MIXTURE[name] for name in (*columns, "weight", "masked")}, wider=True
    )


def place_of(ctx: RunContext) -> Place:
    """Return where and how a context trains."""
    return Place(
        device=ctx.device,
        processes=ctx.processes,
        sharding=ctx.sharding,
        micro_batch_tokens=ctx.micro_batch_tokens,
        apart=ctx.at_once > 1,
        recompute=ctx.recompute,
        seconds=ctx.stage_seconds,
    )
