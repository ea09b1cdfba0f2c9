"""Logits, where something is scored and nowhere else."""

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from infra_core.influence.blocks import output_head
from infra_core.influence.packing import laid_out, model_inputs
from infra_core.lm.batching import Batch


def scored_logits(
    model: nn.Module,
    batch: Batch,
    weights: Mapping[str, Tensor] | None = None,
    on_states: Callable[[Float[Tensor, "N d"]], Float[Tensor, "N d"]] | None = None,
) -> Float[Tensor, "N V"]:
    """Return the logits that predict the scored tokens, in reading order.

    The output head, wider than the rest of a small model together, is given only those positions.

    Parameters
    ----------
    model
        A causal language model of transformers.
    batch
        Rows to run.
    weights
        Parameters to run with in place of the model's own.
    on_states
        Called with what the head is about to be given; what it returns is given instead. A model without a
        known head has its logits for states.
    """
    before_scored = laid_out(model, batch, batch.scored.roll(-1, dims=1))  # no row's first token is scored

    def select(_head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states = args[0][before_scored]
        return (states if on_states is None else on_states(states), *args[1:])

    head = output_head(model)
    handle = head.register_forward_pre_hook(select) if head is not None else None
    try:
        with model_inputs(model, batch) as inputs:
            logits = functional_call(model, dict(weights or {}), (), inputs).logits
    finally:
        if handle is not None:
            handle.remove()
    if head is None and on_states is not None:
        return on_states(logits[before_scored])
    return logits if logits.ndim == 2 else logits[before_scored]
