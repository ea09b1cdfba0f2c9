"""Shapes of published models, so that a run of one can be planned without a hub.

Figures are those of each model's own ``config.json``.
"""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from infra_core.errors import RequestError
from infra_core.lm.load import config_without_weights
from infra_core.lm.tokenizer import character_tokenizer
from infra_core.recipe import PretrainedBase, ScratchBase

_Shape = tuple[str, int, int, int, int, int, int]
# model type, hidden, MLP, layers, heads, key-value heads, vocabulary
_SHAPES: dict[str, _Shape] = {
    "Qwen/Qwen2.5-0.5B-Instruct": ("qwen2", 896, 4864, 24, 14, 2, 151936),
    "Qwen/Qwen2.5-1.5B-Instruct": ("qwen2", 1536, 8960, 28, 12, 2, 151936),
    "Qwen/Qwen2.5-7B-Instruct": ("qwen2", 3584, 18944, 28, 28, 4, 152064),
    "Qwen/Qwen2.5-14B-Instruct": ("qwen2", 5120, 13824, 48, 40, 8, 152064),
    "Qwen/Qwen2.5-32B-Instruct": ("qwen2", 5120, 27648, 64, 40, 8, 152064),
    "Qwen/Qwen2.5-72B-Instruct": ("qwen2", 8192, 29568, 80, 64, 8, 152064),
    "meta-llama/Meta-Llama-3-8B-Instruct": ("llama", 4096, 14336, 32, 32, 8, 128256),
    "meta-llama/Meta-Llama-3-70B-Instruct": ("llama", 8192, 28672, 80, 64, 8, 128256),
}
_TIED = {"Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct"}  # whose output head is their embedding


def config_of(model: ScratchBase | PretrainedBase) -> PretrainedConfig:
    """Return the config of a recipe's base without reading any weight.

    Raises
    ------
    RequestError
        If the model is neither here nor among the published shapes nor a hub id.
    DataError
        If the hub does not give its config.
    """
    if isinstance(model, ScratchBase):
        shape = (
            model.architecture, model.hidden_size, model.mlp_size, model.layers, model.heads, model.kv_heads,
            len(character_tokenizer()),
        )  # fmt: skip
        return _config(shape, tied=True)
    if model.model in _SHAPES:
        return _config(_SHAPES[model.model], tied=model.model in _TIED)
    try:
        return config_without_weights(model)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"the shape of {model.model!r} is not known here; plan where its config.json can be read, "
            f"or take one of {sorted(_SHAPES)}"
        ) from error


def _config(shape: _Shape, *, tied: bool) -> Any:
    kind, hidden, mlp, layers, heads, kv_heads, vocabulary = shape
    return AutoConfig.for_model(
        kind,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
    )
