"""Experts of a mixture in plain operations: watched where asked, and every derivative passes through."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from infra_core.influence.blocks import is_experts


@contextmanager
def plain_experts(model: nn.Module) -> Iterator[None]:
    """Run experts one after the other in plain operations, which every derivative passes through."""
    with ExitStack() as stack:
        for module in model.modules():
            if is_experts(module):
                stack.enter_context(forward_of(module, partial(experts_forward, module, None)))
        yield


@contextmanager
def forward_of(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Give a module another forward for a while, and what it had before after it."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def experts_forward(
    module: Any,
    watch: Callable[[str, int, Tensor, Tensor, Tensor], None] | None,
    hidden_states: Float[Tensor, "N d"],
    top_k_index: Int64[Tensor, "N k"],
    top_k_weights: Float[Tensor, "N k"],
) -> Float[Tensor, "N d"]:
    """Return the weighted sum of every token's experts.

    Parameters
    ----------
    module
        As `is_experts` knows them.
    watch
        Called with the parameter's name, the expert, the tokens sent to it in reading order, what goes into
        that parameter's product and what comes out of it.
    hidden_states, top_k_index, top_k_weights
        As the model hands them over.
    """
    total = torch.zeros_like(hidden_states)
    if total.is_meta:  # without numbers no token is sent anywhere
        return total
    for expert in range(module.gate_up_proj.shape[0]):
        tokens, slot = torch.where(top_k_index == expert)
        if not len(tokens):
            continue
        a = hidden_states[tokens]
        inner = nn.functional.linear(a, module.gate_up_proj[expert])
        if watch:
            watch("gate_up_proj", expert, tokens, a, inner)
        gated = module._apply_gate(inner)
        output = nn.functional.linear(gated, module.down_proj[expert])
        if watch:
            watch("down_proj", expert, tokens, gated, output)
        total = total.index_add(0, tokens, (output * top_k_weights[tokens, slot, None]).to(total.dtype))
    return total
