"""Checkpoints between store and memory, for every stage that needs the model."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infra_core.lm.load import load
from infra_core.store.artifact import Artifact
from tasks._stage import RunContext
from tasks.base import MODEL


def load_checkpoint(ctx: RunContext, checkpoint: Artifact) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Fetch, verify and load a checkpoint's model and tokenizer onto the context's device."""
    return load(model_folder(ctx, checkpoint), device=ctx.device)


def model_folder(ctx: RunContext, checkpoint: Artifact) -> Path:
    """Return a local folder with a checkpoint's verified model files."""
    return ctx.store.fetch(checkpoint, prefix=MODEL)
