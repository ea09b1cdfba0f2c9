"""LoRA through `peft`: adapters train in place of the weights beside them and are merged afterwards.

Hu et al. 2021 (arXiv:2106.09685).
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from infra_core.lm.classes import PeftModel, PreTrainedModel
from infra_core.lm.modules import linear_modules
from infra_core.recipe import LoraParams
from infra_core.seeds import derive_seed

ADAPTER = "adapter"
"""Folder of trained adapters, below that of the states."""

_CARD = "README.md"  # a page for a hub, which peft writes beside the weights


def adapt(model: PreTrainedModel, lora: LoraParams, seed: int) -> PeftModel:
    """Put untrained adapters into `model` and freeze everything else.

    The same seed gives the same adapters; torch's global random state is left as it was.

    Raises
    ------
    RequestError
        If `lora.modules` means no module of the model.
    """
    import peft

    # One expression and not a list: peft keeps lists as sets, whose order is another one each time.
    names = "|".join(map(re.escape, linear_modules(model, lora.modules)))
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=names, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(derive_seed(seed, "lora"))
        adapted = peft.get_peft_model(model, config)
    config.base_model_name_or_path = ""  # the folder it was read from, which is gone when it matters
    return adapted


def save_adapters(adapted: PeftModel, folder: Path, *, writes: bool = True) -> None:
    """Write the adapters as peft reads them: a config and safetensors.

    Where several processes hold the model together all of them call this, and one `writes`.
    """
    adapted.save_pretrained(str(folder), is_main_process=writes)
    if writes:
        (folder / _CARD).unlink(missing_ok=True)


def adapter_files() -> tuple[str, str]:
    """Return what the files that `save_adapters` writes are called."""
    from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

    return CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME


def attach(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put the adapters of a folder into the model that they were trained beside, in its dtype."""
    import peft

    dtype = model.dtype
    with _quiet():
        return peft.PeftModel.from_pretrained(model, folder).to(dtype).eval()


def merge(adapted: PeftModel) -> PreTrainedModel:
    """Add the adapters to the weights beside them; the model is again what it was before `adapt`."""
    merged = adapted.merge_and_unload()
    return merged.requires_grad_(True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep peft 0.21 from warning of an attribute that transformers 5.23 calls by another name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield
