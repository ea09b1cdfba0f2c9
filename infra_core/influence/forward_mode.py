"""Forward-mode derivatives: how scored logits, or what is read of them, move with the weights."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from infra_core.errors import RequestError
from infra_core.influence.logits import scored_logits
from infra_core.influence.packing import plain_attention
from infra_core.lm.batching import Batch


def logits_moved(model: nn.Module, batch: Batch, tangents: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the scored logits, and their derivative as the weights move along `tangents`.

    Parameters
    ----------
    model
        In `quiet`.
    batch
        Rows to run.
    tangents
        By full parameter name.

    Raises
    ------
    RequestError
        If the model has an operation without a forward-mode derivative.
    """
    with torch.no_grad(), _moving(model, tangents) as weights:
        logits, moves = forward_ad.unpack_dual(scored_logits(model, batch, weights))
    return logits, torch.zeros_like(logits) if moves is None else moves


def states_moved(
    model: nn.Module,
    batch: Batch,
    tangents: Mapping[str, Tensor],
    loss: Callable[[Float[Tensor, "N V"]], Float[Tensor, ""]],
    by_state: Float[Tensor, "N d"] | None,
) -> tuple[Float[Tensor, "N d"], Float[Tensor, "N d"]]:
    """Return how what the head is given moves along `tangents`, and the gradient of a loss by it.

    Parameters
    ----------
    model, batch, tangents
        As for `logits_moved`.
    loss
        Of the scored logits.
    by_state
        The gradient, if it is known from an earlier call on the same batch: then the head is left out.

    Raises
    ------
    RequestError
        If the model has an operation without a forward-mode derivative.
    """
    found: list[Tensor] = []

    def end(states: Tensor) -> Tensor:
        value, moves = forward_ad.unpack_dual(states)
        leaf = value.detach().requires_grad_()
        found.extend((torch.zeros_like(value) if moves is None else moves, leaf))
        return leaf if by_state is None else value[:0]  # the head makes logits of none

    with _moving(model, tangents) as weights:
        logits = scored_logits(model, batch, weights, end)
        if by_state is None:
            (by_state,) = torch.autograd.grad(loss(logits), found[1:])
    return found[0], by_state


@contextmanager
def _moving(model: nn.Module, tangents: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Give weights that move along `tangents`.

    Raises
    ------
    RequestError
        If what happens inside has no forward-mode derivative.
    """
    with forward_ad.dual_level(), plain_attention():
        try:
            yield {
                name: forward_ad.make_dual(model.get_parameter(name).detach(), moves)
                for name, moves in tangents.items()
            }
        except NotImplementedError as error:
            raise RequestError(
                "token_rule: loss_term needs forward-mode derivatives, as refining queries does, and this "
                f'model lacks one: {str(error).splitlines()[0]} Load it with attn_implementation="sdpa" or '
                '"eager", or ask for token_rule: position'
            ) from error
