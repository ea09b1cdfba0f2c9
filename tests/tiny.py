"""Models and a tokenizer small enough for every test, built in memory: no network, no files."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from infra_core.corpus.example import Span, TokenizedExample

CONTEXT = 512
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 256 + len(SPECIAL)
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _config(kind: type, **changes: object):
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 256,
        "pad_token_id": 256,
        # The usual 0.02 leaves a model this narrow nearly linear, and its gradients nearly nothing.
        "initializer_range": 0.2,
    }
    return kind(**(shape | changes))


def qwen2(seed: int = 0, *, dtype: torch.dtype = torch.float32, **changes: object) -> PreTrainedModel:
    """Two layers of width 32, biases in q, k and v; `changes` go to the config."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(_config(Qwen2Config, **changes))
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # born zero, which would hide a forgotten bias
                torch.nn.init.normal_(parameter, std=0.2)
    return in_dtype(dtype, model)


def in_dtype(dtype: torch.dtype, model: PreTrainedModel) -> PreTrainedModel:
    """Cast the model; in fp64 with torch's own norms, since transformers' compute in fp32 whatever they get.

    Without that a central difference of the loss is rounding noise.
    """
    if dtype == torch.float64:
        for name, norm in [(n, m) for n, m in model.named_modules() if type(m).__name__.endswith("RMSNorm")]:
            centred = hasattr(norm, "eps")  # Gemma's: its weight is added to one
            exact = torch.nn.RMSNorm(norm.weight.shape, eps=norm.eps if centred else norm.variance_epsilon)
            exact.weight = torch.nn.Parameter(norm.weight + 1) if centred else norm.weight
            model.set_submodule(name, exact)
    return model.to(dtype)


def llama(seed: int = 0, *, dtype: torch.dtype = torch.float32, **changes: object) -> PreTrainedModel:
    """Two layers of width 32, no biases; `changes` go to the config."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return in_dtype(dtype, LlamaForCausalLM(_config(LlamaConfig, **changes)))


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte and a ChatML template; end of text is also the padding, as in SmolLM2."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    built = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=SPECIAL[0], pad_token=SPECIAL[0], model_max_length=CONTEXT
    )
    built.chat_template = CHAT
    return built


def examples(lengths: tuple[int, ...] = (12, 7, 9, 5), seed: int = 0) -> list[TokenizedExample]:
    """Random rows of these lengths: a third is prompt (not scored), the rest falls into two spans."""
    random = torch.Generator().manual_seed(seed)
    return [example(torch.randint(0, 256, (length,), generator=random)) for length in lengths]


def example(ids: torch.Tensor) -> TokenizedExample:
    """Mark the first third of `ids` as prompt and cut the rest in two."""
    length = len(ids)
    prompt = max(1, length // 3)
    scored = torch.arange(length) >= prompt
    middle = (prompt + length) // 2
    edges = [(0, prompt, "prompt"), (prompt, middle, "text"), (middle, length, "text")]
    spans = tuple(Span(start, stop, kind) for start, stop, kind in edges if stop > start)
    return TokenizedExample(ids, scored, spans)
