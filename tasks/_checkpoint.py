"""Checkpoints between store and memory, for every stage that needs the model."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from transformers import PreTrainedTokenizerBase

from infra_core.errors import DataError
from infra_core.lm.classes import PreTrainedModel
from infra_core.lm.load import load
from infra_core.lm.on_host import leave_on_host
from infra_core.recipe.params import ModuleChoice, names_adapters
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.training.adapters import ADAPTER, attach
from tasks._stage import RunContext
from tasks.base import MODEL


def load_checkpoint(
    ctx: RunContext, checkpoint: Artifact, modules: ModuleChoice = "", share: float = 1.0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Fetch, verify and load a checkpoint's model and tokenizer onto the context's device.

    If `modules` means adapters, the model is its base with the adapters beside it, not merged. After a share
    of training below one it is what it was then.

    Raises
    ------
    DataError
        If adapters are meant and the checkpoint has none, or its base is no longer in the store.
    """
    if not names_adapters(modules):
        return load(model_folder(ctx, checkpoint, share), device=ctx.device)
    key = ctx.store.manifest(checkpoint).inputs.get("base")
    known = [found for _, found in ancestors(ctx.store, checkpoint) if isinstance(found, Artifact)]
    base = next((found for found in known if found.key == key), None)
    if base is None or not ctx.store.parts(checkpoint, f"{ADAPTER}/*"):
        raise DataError(
            f"modules {modules!r} means adapters, and {checkpoint.uri} has none beside a base in this store; "
            "train with train.lora, or name modules of the model"
        )
    model, tokenizer = load(model_folder(ctx, base), device=ctx.device)
    beside = ctx.store.fetch(checkpoint, prefix=after(share, ADAPTER))
    return cast(PreTrainedModel, attach(model, beside)), tokenizer  # answers as a model does


def load_to_pass(
    ctx: RunContext, checkpoint: Artifact, modules: ModuleChoice = "", share: float = 1.0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a checkpoint as `load_checkpoint` does, for passes alone: its layers may wait on the host."""
    if not ctx.on_host:
        return load_checkpoint(ctx, checkpoint, modules, share)
    model, tokenizer = load_checkpoint(replace(ctx, device="cpu"), checkpoint, modules, share)
    return leave_on_host(model, ctx.device), tokenizer


def after(share: float, folder: str) -> str:
    """Return where a checkpoint has a folder as it was after a share of training; all of it is one."""
    return folder if share == 1 else f"after-{share:g}/{folder}"


def model_folder(ctx: RunContext, checkpoint: Artifact, share: float = 1.0) -> Path:
    """Return a local folder with a checkpoint's verified model files, as after a share of its training."""
    return ctx.store.fetch(checkpoint, prefix=after(share, MODEL))
