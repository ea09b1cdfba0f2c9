"""Models larger than a device: the weights of layers wait on the host, and are copied for a layer to run.

Without gradients a layer's copies are gone when it has run. Whoever runs one layer and differentiates it
before the next holds those of one layer, too; a backward pass through the whole model holds them all.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar
from weakref import WeakSet

import torch
from torch import nn
from torch.func import functional_call

Model = TypeVar("Model", bound=nn.Module)

_waiting: WeakSet[nn.Module] = WeakSet()


def leave_on_host(model: Model, device: str | torch.device) -> Model:
    """Move a model to a device, but for its layers, which stay where they are; return it.

    It gives what it would give if all of it were there. What is copied for a layer is whatever weights it has
    when it is called, those of `functional_call` and their tangents among them.

    Parameters
    ----------
    model
        On the host. Its layers are the entries of its largest list of modules.
    device
        Where it is to run.

    Raises
    ------
    ValueError
        If it has no list of modules.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError("a model that has no list of layers cannot leave them on the host")
    there = torch.device(device)
    layers = max(lists, key=lambda each: sum(weight.numel() for weight in each.parameters()))
    held = list(layers)
    del layers[:]
    model.to(there)
    layers.extend(held)
    for layer in held:
        layer.forward = _run_on(there, layer)
    _waiting.add(model)
    return model


def is_on_host(model: nn.Module) -> bool:
    """Whether a model's layers wait on the host."""
    return model in _waiting


def _run_on(device: torch.device, layer: nn.Module) -> Callable[..., Any]:
    """Return a layer's forward, with its weights copied to a device for the call."""
    around = nn.ModuleDict({"layer": layer})  # `functional_call` calls what it lends weights to
    around.forward = layer.forward

    def run(*args: Any, **named: Any) -> Any:
        weights = chain(layer.named_parameters(), layer.named_buffers())
        copies = {f"layer.{name}": weight.to(device, copy=True) for name, weight in weights}
        return functional_call(around, copies, args, named)

    return run
