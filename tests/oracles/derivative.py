"""Influence as a directional derivative of the loss: moves the weights, uses no hook and no factorisation.

`directions` are by module name, in weight space, a bias as a last column.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

Directions = Mapping[str, Tensor]


def token_nll_at(model: nn.Module, directions: Directions, step: Tensor | float, ids: Tensor, scored: Tensor):
    """NLL of each scored token under the weights θ + step · direction."""
    weights = {}
    for name, direction in directions.items():
        module = model.get_submodule(name)
        bias = module.bias is not None
        weights[f"{name}.weight"] = module.weight.detach() + step * (direction[:, :-1] if bias else direction)
        if bias:
            weights[f"{name}.bias"] = module.bias.detach() + step * direction[:, -1]
    logits = functional_call(model, weights, (), {"input_ids": ids[None]}).logits[0]
    return -logits[:-1].log_softmax(-1).gather(1, ids[1:, None])[scored[1:], 0]


def by_difference(model: nn.Module, directions: Directions, ids: Tensor, scored: Tensor) -> Tensor:
    """d/dε of each scored token's NLL, by central difference."""
    # Weights are of order one: a step that moves the largest by 1e-5 balances truncation and fp64 rounding.
    step = 1e-5 / max(float(direction.abs().max()) for direction in directions.values())
    with torch.no_grad():
        ahead = token_nll_at(model, directions, step, ids, scored)
        behind = token_nll_at(model, directions, -step, ids, scored)
    return (ahead - behind) / (2 * step)


def by_jvp(model: nn.Module, directions: Directions, ids: Tensor, scored: Tensor) -> Tensor:
    """d/dε of each scored token's NLL, by forward-mode differentiation."""
    origin = torch.zeros((), dtype=torch.float64)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        return jvp(
            lambda step: token_nll_at(model, directions, step, ids, scored),
            (origin,),
            (torch.ones_like(origin),),
        )[1]


def at_position(
    model: nn.Module, directions: Directions, position: int, ids: Tensor, scored: Tensor
) -> float:
    """d/dε of the summed NLL when the weights move for one position only, by central difference."""
    step = 1e-5 / max(float(direction.abs().max()) for direction in directions.values())

    def loss(signed_step: float) -> Tensor:
        def nudge(direction):
            def hook(module, args, output):
                a = args[0][:, position]
                if module.bias is not None:
                    a = torch.cat([a, torch.ones_like(a[:, :1])], dim=1)
                moved = output.clone()
                moved[:, position] += signed_step * (a @ direction.T)
                return moved

            return hook

        handles = [
            model.get_submodule(name).register_forward_hook(nudge(d)) for name, d in directions.items()
        ]
        logits = model(input_ids=ids[None]).logits[0]
        for handle in handles:
            handle.remove()
        return -logits[:-1].log_softmax(-1).gather(1, ids[1:, None])[scored[1:], 0].sum()

    with torch.no_grad():
        return float(loss(step) - loss(-step)) / (2 * step)
