"""The least that scores of whole examples cost, with no tokens: what the token level is compared with.

The engine always gives tokens, so there is no switch to turn off. This is the same pass over the same batches
with the least work at the modules: each row's gradient by one product, and its dot product with every
direction. Nothing of it is in the engine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from benchmarks.workloads import BATCH_TOKENS
from infra_core.corpus.example import TokenizedExample
from infra_core.influence import Preconditioned
from infra_core.lm.batching import Batch, batches

OnGradient = Callable[[str, Tensor, Tensor], None]


def instance_scores(
    model: PreTrainedModel, preconditioned: Preconditioned, rows: Sequence[TokenizedExample]
) -> NDArray[np.float64]:
    """Return the influence of each row on each group, groups down."""
    found = torch.zeros(len(preconditioned.groups), len(rows))
    flat = {name: each.flatten(1) for name, each in preconditioned.directions.items()}
    for batch, examples in batches(rows, BATCH_TOKENS):
        positions = [len(example) - 1 for example in examples]

        def dot(name: str, a: Tensor, g: Tensor, batch: Batch = batch, kept: list[int] = positions) -> None:
            for place, count, one, other in zip(batch.index, kept, a, g, strict=True):
                gradient = other[:count].mT @ one[:count]
                found[:, place] -= flat[name] @ gradient.flatten()

        forward_backward(model, batch, list(flat), dot)
    return found.double().numpy()


def forward_backward(
    model: PreTrainedModel, batch: Batch, modules: Sequence[str] = (), on_gradient: OnGradient | None = None
) -> None:
    """Run one batch forward and backward, with logits only where scored and no gradient of a weight.

    Parameters
    ----------
    model
        Of transformers, with `lm_head`; its parameters must be frozen.
    batch
        Rows to run.
    modules
        Whose activations and output gradients to hand over.
    on_gradient
        Called with a module's name, its activations and its output gradients, rows × positions × width.
    """
    scored = batch.scored[:, 1:]
    with _hooked(model, scored, modules, on_gradient):
        embedded = model.get_input_embeddings()(batch.ids).requires_grad_(not modules)
        mask = batch.attention_mask.long()
        logits = model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits, batch.ids[batch.scored], reduction="sum").backward()


@contextmanager
def _hooked(
    model: PreTrainedModel, scored: Tensor, modules: Sequence[str], on_gradient: OnGradient | None
) -> Iterator[None]:
    kept: dict[str, Tensor] = {}

    def forward(name: str, _module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        kept[name] = args[0].detach()
        if not output.requires_grad:
            output.requires_grad_()
        output.register_hook(partial(backward, name))

    def backward(name: str, gradient: Tensor) -> None:
        if on_gradient is not None:
            on_gradient(name, kept.pop(name), gradient)

    def select(_head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][:, :-1][scored],)

    named: Mapping[str, nn.Module] = dict(model.named_modules())
    handles = [named[name].register_forward_hook(partial(forward, name)) for name in modules]
    handles.append(named["lm_head"].register_forward_pre_hook(select))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
