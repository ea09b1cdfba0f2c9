"""One model of every family of decoders that is tracked, small enough for every test."""

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from infra_core.recipe import FactorParams
from tests import tiny

_SHAPE = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": tiny.CONTEXT,
    "bos_token_id": None,
    "eos_token_id": 256,
    "pad_token_id": 256,
    "initializer_range": 0.2,
}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 12}
_CONFIGS: dict[str, dict[str, object]] = {
    "qwen2": _SHAPE,
    "qwen3": _SHAPE,
    "llama": _SHAPE,
    "mistral": _SHAPE,
    "gemma2": _SHAPE,
    "phi": _SHAPE,
    "phi3": _SHAPE,
    "gpt2": {
        "vocab_size": tiny.VOCABULARY,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": tiny.CONTEXT,
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": 256,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
    "mixtral": _SHAPE | _EXPERTS | {"num_local_experts": 4},
    "qwen3_moe": _SHAPE | _EXPERTS | {"num_experts": 4},
    "olmoe": _SHAPE | _EXPERTS | {"num_experts": 4},
}
FAMILIES = (*_CONFIGS, "lora")


def params_of(family: str, **more: Any) -> FactorParams:
    """Return what fits every block of a model of this family, or its adapters where it has some."""
    return FactorParams(modules="lora" if family == "lora" else "all", **more)


def build(family: str, seed: int = 0) -> PreTrainedModel:
    """Return a model of this family with biases that are not zero, in fp64."""
    if family == "lora":
        return _adapted(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **_CONFIGS[family]))
        if hasattr(model, "set_experts_implementation"):
            model.set_experts_implementation("eager")  # the others know no fp64
        _stir(model, "bias")
    return tiny.in_dtype(torch.float64, model).eval()


def _adapted(seed: int) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "up_proj"])
        model = get_peft_model(tiny.qwen2(seed), config)
        _stir(model, "lora_B.default.weight")
    return tiny.in_dtype(torch.float64, model).eval()


def _stir(model: torch.nn.Module, ending: str) -> None:
    """Draw what is born zero, which would hide that it was forgotten."""
    for name, parameter in model.named_parameters():
        if name.endswith(ending):
            torch.nn.init.normal_(parameter, std=0.2)
