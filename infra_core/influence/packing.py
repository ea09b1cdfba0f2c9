"""Rows laid end to end, without padding: attention row by row, everything else over all positions at once.

Nothing is computed for padding, no mask is made, and attention skips what causality forbids. A model is run
so only after it has shown on two small rows that it gives the same logits; else rows are padded as usual.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
import transformers
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from infra_core.influence.blocks import text_config
from infra_core.influence.precision import wide
from infra_core.lm.batching import Batch
from infra_core.lm.classes import PreTrainedModel

BY_ROW = "infra_by_row"
"""The name under which transformers knows `_attend`."""

CHUNK = 256
"""Queries that plain attention looks from at once: it holds this many rows of weights, not all of them."""

CLOSE = 1e-3
"""Largest difference of logits, over the largest logit, between a model's rows packed and padded."""

_lengths: ContextVar[list[int]] = ContextVar("lengths")
_plainly: ContextVar[bool] = ContextVar("plainly", default=False)
_gave_the_same: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def laid_out(model: nn.Module, batch: Batch, entries: Shaped[Tensor, "B T"]) -> Shaped[Tensor, "b t"]:
    """Arrange one entry a position as the model will see the batch: packed in one row, or padded as it is."""
    return entries[batch.attention_mask][None] if _is_packed(model, batch) else entries


@contextmanager
def model_inputs(model: nn.Module, batch: Batch) -> Iterator[dict[str, Any]]:
    """Give what the model is to be called with, and prepare it for that while inside."""
    if not _is_packed(model, batch):
        yield {"input_ids": batch.ids, "attention_mask": batch.attention_mask.long(), "use_cache": False}
        return
    with _attending_by_row(model, batch.attention_mask.sum(1).tolist()):
        yield _packed(batch.ids, batch.attention_mask)


def _packed(ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> dict[str, Any]:
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return {"input_ids": ids[mask][None], "position_ids": places[mask][None], "use_cache": False}


def _is_packed(model: nn.Module, batch: Batch) -> bool:
    if not isinstance(model, transformers.PreTrainedModel):
        return False
    # Attention that is named otherwise was chosen for a reason: eager for exactness, another for speed.
    if text_config(model)._attn_implementation != "sdpa" or next(model.parameters()).is_meta:
        return False
    if batch.ids.shape[1] > _window(model):
        return False
    if model not in _gave_the_same:
        _gave_the_same[model] = _gives_the_same(model)
    return _gave_the_same[model]


def _window(model: nn.Module) -> float:
    """Return how far back every layer sees; rows that are longer need a mask of their own kind."""
    config = text_config(model)
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return float(min((window for window in windows if window), default=float("inf")))


@torch.no_grad()
def _gives_the_same(model: PreTrainedModel) -> bool:
    """Compare the last logits of two small rows packed and padded: state that leaks between rows shows."""
    device = next(model.parameters()).device
    ids = torch.tensor([[1, 2, 3, 0], [3, 1, 2, 1]], device=device)
    mask = torch.tensor([[True] * 3 + [False], [True] * 4], device=device)
    padded = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits[mask]
    with _attending_by_row(model, [3, 4]):
        packed = model(**_packed(ids, mask)).logits[0]
    return bool((packed - padded).abs().max() <= CLOSE * padded.abs().max())


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let attention be made of operations that have forward-mode derivatives; fused kernels have none."""
    token = _plainly.set(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):  # of models that are not packed
            yield
    finally:
        _plainly.reset(token)


@contextmanager
def _attending_by_row(model: nn.Module, lengths: list[int]) -> Iterator[None]:
    assert isinstance(model, transformers.PreTrainedModel)  # noqa: S101 - `_is_packed` has asked
    before, token = text_config(model)._attn_implementation, _lengths.set(lengths)
    transformers.AttentionInterface.register(BY_ROW, _attend)
    model.set_attn_implementation(BY_ROW)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        _lengths.reset(token)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Bool[Tensor, "..."] | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend within each of the rows that lie end to end."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    lengths, attended = _lengths.get(), []
    for q, k, v in zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True):
        if _plainly.get():
            attended.append(_attend_plainly(q, k, v, options.get("scaling") or q.shape[-1] ** -0.5))
        else:
            attended.append(sdpa_attention_forward(module, q, k, v, None, **options)[0])
    return torch.cat(attended, dim=1), None


def _attend_plainly(
    query: Float[Tensor, "1 H n d"],
    key: Float[Tensor, "1 K n d"],
    value: Float[Tensor, "1 K n d"],
    scale: float,
) -> Float[Tensor, "1 n H d"]:
    """Attend in operations that can be differentiated forwards, a few queries at a time."""
    queries = query.unflatten(1, (key.shape[1], -1))  # heads that share keys side by side
    keys, values, attended = key.unsqueeze(2), value.unsqueeze(2), []
    for start in range(0, query.shape[2], CHUNK):
        stop = min(start + CHUNK, query.shape[2])
        weights = queries[..., start:stop, :] @ keys[..., :stop, :].mT * scale
        ahead = torch.ones(weights.shape[-2:], dtype=torch.bool, device=weights.device).triu(start + 1)
        weights = weights.masked_fill(ahead, -torch.inf).softmax(-1, dtype=wide(weights.dtype))
        attended.append(weights.to(values.dtype) @ values[..., :stop, :])
    return torch.cat(attended, dim=-2).flatten(1, 2).transpose(1, 2)
