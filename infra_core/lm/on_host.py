"""Models larger than a device: the weights of layers wait on the host, and are copied for a layer to run.

Without gradients a layer's copies are gone when it has run. Whoever runs one layer and differentiates it
before the next holds those of one layer, too; a backward pass through the whole model holds them all.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.func import functional_call

Model = TypeVar("Model", bound=nn.Module)

_MARK = "layers_wait_on_the_host"


def leave_on_host(model: Model, device: str | torch.device) -> Model:
    """Move a model to a device, but for its layers, which stay where they are; return it.

    It gives what it would give if all of it were there. What is copied for a layer is whatever weights it has
    when it is called, those of `functional_call` and their tangents among them.

    Parameters
    ----------
    model
        On the host.
    device
        Where it is to run.

    Raises
    ------
    ValueError
        If it has no layers.
    """
    there, layers = torch.device(device), layers_of(model)
    held = list(layers)
    del layers[:]
    model.to(there)
    layers.extend(held)
    run = _running_on(there)
    for layer in held:
        layer.forward = MethodType(run, layer)  # which a copy of the layer has as its own
    setattr(model, _MARK, True)
    return model


def is_on_host(model: nn.Module) -> bool:
    """Whether a model's layers wait on the host."""
    return getattr(model, _MARK, False)


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Return the layers of a model: its largest list of modules.

    Raises
    ------
    ValueError
        If it has none.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"a {type(model).__name__} has no list of layers")
    return max(lists, key=count_weights)


def count_weights(module: nn.Module) -> int:
    """Count the numbers that a module learns."""
    return sum(weight.numel() for weight in module.parameters())


def _running_on(device: torch.device) -> Callable[..., Any]:
    """Return a forward of layers that copies their weights to a device for the call."""

    def run(layer: nn.Module, *args: Any, **named: Any) -> Any:
        around = nn.ModuleDict({"layer": layer})  # `functional_call` calls what it lends weights to
        around.forward = partial(type(layer).forward, layer)
        weights = chain(layer.named_parameters(), layer.named_buffers())
        copies = {f"layer.{name}": weight.to(device, copy=True) for name, weight in weights}
        return functional_call(around, copies, args, named)

    return run
