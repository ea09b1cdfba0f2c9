"""The model a run starts from, as a checkpoint in the store: drawn from a seed, or published weights."""

from pathlib import Path
from tempfile import TemporaryDirectory

from infra_core.lm.load import build_scratch, load_pretrained, pin, save
from infra_core.recipe import PretrainedBase, ScratchBase
from infra_core.store.store import WorkDir
from tasks._stage import RunContext, stage

MODEL = "model"
"""Prefix of a checkpoint's parts: `model/config.json`, `model/model.safetensors`, the tokenizer."""


def pinned(params: ScratchBase | PretrainedBase) -> ScratchBase | PretrainedBase:
    """Return the same base with its revision filled in: for a folder, the hash of its content."""
    return pin(params) if isinstance(params, PretrainedBase) else params


@stage(version=1)
def base(ctx: RunContext, out: WorkDir, *, params: ScratchBase | PretrainedBase) -> None:
    """Put the starting weights and their tokenizer into the store."""
    loaded = build_scratch(params) if isinstance(params, ScratchBase) else load_pretrained(params)
    with TemporaryDirectory() as folder:
        save(*loaded, Path(folder))
        out.put_folder(MODEL, Path(folder))
