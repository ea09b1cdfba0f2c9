"""One example at a time, no padding, plain autograd on the weights themselves."""

import torch
from torch import Tensor, nn


def token_nll(model: nn.Module, ids: Tensor, scored: Tensor) -> Tensor:
    """NLL of each scored token given those before it, in reading order."""
    logits = model(input_ids=ids[None]).logits[0]
    return -logits[:-1].log_softmax(-1).gather(1, ids[1:, None])[scored[1:], 0]


def homogeneous(weight: Tensor, bias: Tensor | None) -> Tensor:
    """Put the bias beside the weight as a last column."""
    return weight if bias is None else torch.cat([weight, bias[:, None]], dim=1)


def loss_gradients(model: nn.Module, names: list[str], ids: Tensor, scored: Tensor) -> dict[str, Tensor]:
    """Gradient of the summed NLL by each module's weight (and bias), from autograd."""
    modules = dict(model.named_modules())
    leaves = {
        name: [p for p in (modules[name].weight, modules[name].bias) if p is not None] for name in names
    }
    flat = [p for pair in leaves.values() for p in pair]
    gradients = iter(torch.autograd.grad(token_nll(model, ids, scored).sum(), flat))
    return {
        name: homogeneous(next(gradients), next(gradients) if len(pair) == 2 else None)
        for name, pair in leaves.items()
    }


def inputs_and_output_gradients(
    model: nn.Module, name: str, ids: Tensor, scored: Tensor
) -> tuple[Tensor, Tensor]:
    """What module `name` sees at positions 0..T-2, a one for the bias, and its output's loss gradient."""
    module, seen = dict(model.named_modules())[name], {}

    def look(_module, args, output):
        output.retain_grad()
        seen.update(a=args[0][0], y=output)

    handle = module.register_forward_hook(look)
    token_nll(model, ids, scored).sum().backward()
    handle.remove()
    a = seen["a"].detach()
    if module.bias is not None:
        a = torch.cat([a, torch.ones_like(a[:, :1])], dim=1)
    return a[:-1], seen["y"].grad[0, :-1]
