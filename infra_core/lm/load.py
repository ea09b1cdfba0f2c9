"""Model and tokenizer, from a shape, a folder, the hub or a GGUF file. Never runs remote code.

What is computed in which dtype:

=================  ========================================  ==========================
where              weights                                   arithmetic
=================  ========================================  ==========================
training           fp32, stored again in the base's dtype    `TrainFields.precision`
influence, exam    as stored: `PretrainedBase.dtype`         the same; losses in fp32
covariances        –                                         fp32
eigendecomposition –                                         fp64; fp32 if asked and good enough
=================  ========================================  ==========================
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.distributed import DistributedConfig
from transformers.utils import logging as transformers_logging

from infra_core.errors import DataError
from infra_core.hub import CONFIG, is_name, model_folder
from infra_core.lm.classes import PreTrainedModel
from infra_core.lm.tokenizer import character_tokenizer
from infra_core.recipe import PretrainedBase, ScratchBase

LanguageModel = tuple[PreTrainedModel, PreTrainedTokenizerBase]
Dtype = Literal["fp32", "bf16"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

# Plain PyTorch attention: differentiable twice over, on any device, and the same for training and scoring.
_ATTENTION = "sdpa"


def build_scratch(base: ScratchBase) -> LanguageModel:
    """Return a randomly initialised fp32 model of the given shape and its character tokenizer.

    The same `base` gives the same weights; torch's global random state is left as it was.
    """
    tokenizer = character_tokenizer()
    config = AutoConfig.for_model(
        base.architecture,
        vocab_size=len(tokenizer),
        hidden_size=base.hidden_size,
        num_hidden_layers=base.layers,
        num_attention_heads=base.heads,
        num_key_value_heads=base.kv_heads,
        intermediate_size=base.mlp_size,
        max_position_embeddings=base.context,
        tie_word_embeddings=True,
        # SmallInit (Nguyen & Salazar 2019, arXiv:1910.05895). The usual 0.02 suits models a hundred times as
        # wide: with it a narrow one learns nothing for its first hundred steps.
        initializer_range=(0.4 / base.hidden_size) ** 0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(base.seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=_ATTENTION)
    return model.eval(), tokenizer


def load_pretrained(base: PretrainedBase, *, device: str = "cpu") -> LanguageModel:
    """Return published weights and their tokenizer.

    Parameters
    ----------
    base
        `model` is a folder, a hub id (with `revision`) or ``package://PACKAGE/FILE.gguf``, a quantised file
        inside an installed Python package, which is dequantised.
    device
        Where the model goes.

    Raises
    ------
    DataError
        If there is no such model, the hub does not give it, its weights are not safetensors, it has no usable
        tokenizer, it needs code of its own, or what lies there is not the pinned revision.
    """
    if base.revision is not None and (found := pin(base).revision) != base.revision:
        raise DataError(
            f"model {base.model} is revision {found}, the recipe pins {base.revision}; correct one"
        )
    if base.model.startswith("package://"):
        folder, file = _inside_package(base.model)
        return _read(str(folder), device, base.dtype, gguf_file=file)
    if Path(base.model).is_dir():
        return load(Path(base.model), device=device, dtype=base.dtype)
    if base.revision is None or not is_name(base.model):
        raise DataError(f"model {base.model!r} is no folder here; give a folder that exists or a hub id")
    # As a folder, so that what comes of a model does not depend on where it came from.
    return load(model_folder(base.model, base.revision), device=device, dtype=base.dtype)


def load(folder: Path, *, device: str = "cpu", dtype: Dtype | None = None) -> LanguageModel:
    """Return the model and tokenizer of a folder that `save` wrote, or that has the hub's layout.

    Weights come as they are stored unless `dtype` says otherwise.

    Raises
    ------
    DataError
        If the folder lacks config, safetensors weights or a tokenizer with a chat template, or only code that
        lies in it could read it.
    """
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder} is no model folder: it has no config.json; give one in the hub's layout")
    if not any(folder.glob("*.safetensors")):
        raise DataError(f"model folder {folder} has no *.safetensors; convert its weights first")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise DataError(f"model folder {folder} has no tokenizer.json; save the tokenizer beside the model")
    return _read(str(folder), device, dtype)


def load_share(folder: Path, processes: int, arithmetic: Dtype) -> PreTrainedModel:
    """Return this process's share of a model that several train together (FSDP2), on its own device.

    Weights are fp32. With bf16 `arithmetic` they are gathered in bf16 for a pass: autocast would keep a copy
    of all of them in every process. Gradients are summed in fp32.
    """
    divided = DistributedConfig(fsdp_size=processes, fsdp_mixed_precision=arithmetic == "bf16")
    return _read(str(folder), None, "fp32", distributed_config=divided)[0]


def config_without_weights(base: PretrainedBase) -> PretrainedConfig:
    """Return the config of published weights; of a model on the hub nothing else is fetched.

    Raises
    ------
    DataError
        If the hub does not give it, or it is of an architecture that transformers does not have.
    """
    if base.model.startswith("package://"):
        return deepcopy(_packaged_config(base.model))
    if Path(base.model).is_dir() or base.revision is None or not is_name(base.model):
        return AutoConfig.from_pretrained(base.model, local_files_only=True, trust_remote_code=False)
    return _config_in(model_folder(base.model, base.revision, CONFIG))


@cache
def _packaged_config(model: str) -> PretrainedConfig:
    """Return the config that a package's GGUF file holds; finding it among all tokens takes seconds."""
    folder, file = _inside_package(model)
    return AutoConfig.from_pretrained(str(folder), gguf_file=file, trust_remote_code=False)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a folder that `save` wrote, without reading its weights."""
    return _tokenizer_class(str(folder)).from_pretrained(str(folder), trust_remote_code=False)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write model and tokenizer in the hub's layout; the same weights give the same bytes."""
    with no_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing its progress bars, then let it again if it did before."""
    drew = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if drew:
            transformers_logging.enable_progress_bar()


def pin(base: PretrainedBase) -> PretrainedBase:
    """Return `base` with the revision it has now: of local files the content hash, of a hub id as given."""
    if base.model.startswith("package://"):
        folder, file = _inside_package(base.model)
        return base.model_copy(update={"revision": _sha256(folder / file)[:16]})
    if Path(base.model).is_dir():
        return base.model_copy(update={"revision": folder_revision(Path(base.model))})
    return base


def folder_revision(folder: Path) -> str:
    """Return the content hash of a model folder: 16 hex over the names and bytes of its visible files."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = file.relative_to(folder).as_posix()
        if not any(piece.startswith(".") for piece in name.split("/")):
            digest.update(f"{name}\n{_sha256(file)}\n".encode())
    return digest.hexdigest()[:16]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _inside_package(uri: str) -> tuple[Path, str]:
    package, _, file = uri.removeprefix("package://").partition("/")
    # Found without importing it: a package of weights may need things at import that we do not.
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise DataError(f"model {uri!r} lies in the package {package!r}, which is not installed; install it")
    folder = Path(found.submodule_search_locations[0])
    if not file.endswith(".gguf") or not (folder / file).is_file():
        held = sorted(path.name for path in folder.glob("*.gguf"))
        raise DataError(f"model {uri!r}: package {package!r} has no such GGUF file; it has {held}")
    return folder, file


def _read(name: str, device: str | None, dtype: Dtype | None, **where: Any) -> LanguageModel:
    weights: dict[str, Any] = {"use_safetensors": True}
    if "distributed_config" in where:
        weights["distributed_config"] = where.pop("distributed_config")
    if "gguf_file" in where:
        weights = {"quantization_config": GgufConfig(dequantize=True)}
    try:
        with no_progress_bars():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                name,
                dtype=DTYPES[dtype] if dtype else "auto",
                attn_implementation=_ATTENTION,
                trust_remote_code=False,
                output_loading_info=True,
                **weights,
                **where,
            )
            tokenizer = _tokenizer_class(name).from_pretrained(name, trust_remote_code=False, **where)
    except (OSError, ValueError, SafetensorError) as error:  # all mean: not there or not right
        raise _unreadable(name, error) from error
    model, read = loaded  # two things, because of output_loading_info
    if read["missing_keys"]:  # transformers would draw them at random and only warn
        absent = sorted(read["missing_keys"])
        raise DataError(f"model {name!r} lacks {len(absent)} of its tensors, {absent[0]} first; get it whole")
    if tokenizer.chat_template is None:
        raise DataError(f"the tokenizer of model {name!r} has no chat template; take a chat model")
    for whence in ("is_local", "local_files_only"):  # would be saved, and tell a copy from its original
        tokenizer.init_kwargs.pop(whence, None)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return (model if device is None else model.to(torch.device(device))).eval(), tokenizer


def _config_in(folder: Path) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable(str(folder), error) from error


def _unreadable(name: str, error: Exception) -> DataError:
    if "trust_remote_code" in str(error):  # which says to trust it
        return DataError(
            f"model {name!r} needs code of its own, and code that comes with a model is never run; take one "
            "whose architecture and tokenizer transformers has"
        )
    return DataError(f"model {name!r} cannot be loaded: {' '.join(str(error).split())[:300]}")


def _tokenizer_class(name: str) -> Any:
    # Beside a qwen2 config AutoTokenizer takes Qwen2Tokenizer, which rebuilds the tokenizer its own way
    # whatever tokenizer.json says. A tokenizer saved under no model's name is read as it was saved.
    described = Path(name) / "tokenizer_config.json"
    if described.is_file():
        kind = json.loads(described.read_text(encoding="utf-8")).get("tokenizer_class")
        if kind in {"TokenizersBackend", "PreTrainedTokenizerFast"}:
            return PreTrainedTokenizerFast
    return AutoTokenizer
