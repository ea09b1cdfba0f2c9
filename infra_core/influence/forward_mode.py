"""Forward-mode derivatives: how scored logits, or what is read of them, move with the weights."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from infra_core.errors import RequestError
from infra_core.influence.passes import scored_logits
from infra_core.lm.batching import Batch


def forward_mode(
    model: nn.Module,
    batch: Batch,
    tangents: Mapping[str, Tensor],
    read: Callable[[Float[Tensor, "N V"]], Tensor] = lambda logits: logits,
) -> tuple[Tensor, Tensor]:
    """Return what is read of the scored logits, and its derivative as the weights move along `tangents`.

    Parameters
    ----------
    model
        In `quiet`.
    batch
        Rows to run.
    tangents
        By full parameter name.
    read
        A function of the scored logits; the logits themselves by default.

    Raises
    ------
    RequestError
        If the model has an operation without a forward-mode derivative.
    """
    # Fused attention kernels have no forward-mode derivative; the plain one has.
    with torch.no_grad(), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
        dual = {
            name: forward_ad.make_dual(model.get_parameter(name).detach(), moves)
            for name, moves in tangents.items()
        }
        try:
            value, moved = forward_ad.unpack_dual(read(scored_logits(model, batch, dual)))
        except NotImplementedError as error:
            raise RequestError(
                "token_rule: loss_term needs forward-mode derivatives, as refining queries does, and this "
                f'model lacks one: {str(error).splitlines()[0]} Load it with attn_implementation="sdpa" or '
                '"eager", or ask for token_rule: position'
            ) from error
    return value, torch.zeros_like(value) if moved is None else moved
