"""Models and rows to measure on: random weights and tokens, lengths like those of chains of thought."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from infra_core.corpus.example import Span, TokenizedExample
from infra_core.seeds import derive_seed, generator

FAMILIES = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
CONTEXT = 4096  # more than any row: bergson refuses batches of more tokens than the context
BATCH_TOKENS = 2048  # padded positions a batch on every side: two rows of the longest


@dataclass(frozen=True, slots=True)
class MadeRows:
    """A corpus of so many made rows; `benchmarks.corpus_rows` writes it."""

    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A model's shape, how many rows it is given and how long they are.

    Attributes
    ----------
    shortest, longest
        Row lengths are spread log-uniformly between them.
    """

    name: str
    family: str
    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    rows: int
    shortest: int = 64
    longest: int = 1024
    seed: int = 0


FULL = {
    "a": Workload("a", "qwen2", 384, 1536, 6, heads=6, kv_heads=6, vocabulary=8192, rows=40),
    # Four layers at the widths of SmolLM2-135M.
    "b": Workload("b", "llama", 576, 1536, 4, heads=9, kv_heads=3, vocabulary=49152, rows=24),
}
QUICK = {
    "a": Workload(
        "a", "qwen2", 48, 96, 2, heads=3, kv_heads=3, vocabulary=256, rows=10, shortest=8, longest=48
    ),
    "b": Workload(
        "b", "llama", 48, 96, 2, heads=6, kv_heads=2, vocabulary=512, rows=8, shortest=8, longest=48
    ),
}


def build(workload: Workload) -> PreTrainedModel:
    """Return the workload's model, in fp32 and eval mode; the same weights every time."""
    config_of, model_of = FAMILIES[workload.family]
    config = config_of(
        vocab_size=workload.vocabulary,
        hidden_size=workload.hidden,
        intermediate_size=workload.mlp,
        num_hidden_layers=workload.layers,
        num_attention_heads=workload.heads,
        num_key_value_heads=workload.kv_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=workload.family == "llama",
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(workload.seed)
        return model_of(config).eval()


def training_rows(workload: Workload) -> list[TokenizedExample]:
    """Return the rows to fit on and to score."""
    return _rows(workload, "rows", workload.rows)


def query_rows(workload: Workload, count: int) -> list[TokenizedExample]:
    """Return queries, which are none of the training rows."""
    return _rows(workload, "queries", count)


def _rows(workload: Workload, role: str, count: int) -> list[TokenizedExample]:
    random = generator(workload.seed, "benchmark", workload.name, role)
    low, high = math.log(workload.shortest), math.log(workload.longest)
    # Evenly spaced in the logarithm rather than drawn, so that few rows are as typical as many.
    quantiles = random.permutation((np.arange(count) + 0.5) / count)
    lengths = [round(math.exp(low + quantile * (high - low))) for quantile in quantiles]
    tokens = torch.Generator().manual_seed(derive_seed(workload.seed, "tokens", workload.name, role))
    return [row(torch.randint(0, workload.vocabulary, (length,), generator=tokens)) for length in lengths]


def row(ids: torch.Tensor) -> TokenizedExample:
    """Make a row whose first quarter is prompt, which is not scored."""
    prompt = max(1, len(ids) // 4)
    spans = (Span(0, prompt, "prompt"), Span(prompt, len(ids), "text"))
    return TokenizedExample(ids, torch.arange(len(ids)) >= prompt, spans)
