"""Ranges of layers that can be run again by themselves, from what went in and the gradient that came back.

So a model is gone through once, and then each range at a time, in place of the whole model for every range.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from infra_core.influence.experts import forward_of
from infra_core.influence.stretches import Stretch
from infra_core.influence.tracking import layer_of, look_once

_each_alone: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def layer_ranges(model: nn.Module, cuts: Sequence[Sequence[str]]) -> list[Stretch] | None:
    """Return the stretch of layers that each group of blocks is in, in the model's order.

    None if the model does not run its layers one after the other, each on what the one before it gave: then
    nothing less than the whole of it can be run again. That is not believed but tried, on two tokens.

    Parameters
    ----------
    model
        In `quiet`.
    cuts
        Groups of names of blocks; the layers of a group are next to each other.
    """
    order = _order(model, [name for cut in cuts for name in cut])
    if order is None:
        return None
    found = []
    for cut in cuts:
        places = sorted({order.index(layer_of(name)) for name in cut})
        found.append(Stretch(tuple(order[places[0] : places[-1] + 1]), tuple(cut), in_a_row=True))
    found.sort(key=lambda stretch: order.index(stretch.modules[0]))
    return found if _give_the_same_alone(model, order, found) else None


def lone_layers(model: nn.Module, names: Sequence[str]) -> list[str] | None:
    """Return a model's layers in order, if these blocks are in them and each can be run by itself.

    Tried once for a model: what it does is taken not to change.
    """
    order = _order(model, names) if names else None
    if order is None:
        return None
    if model not in _each_alone:
        each = [Stretch((layer,), (), in_a_row=True) for layer in order]
        _each_alone[model] = _give_the_same_alone(model, order, each)
    return order if _each_alone[model] else None


def _order(model: nn.Module, names: Sequence[str]) -> list[str] | None:
    """Return the layers among which those of all named blocks are, in the model's order."""
    parents = {layer_of(name).rpartition(".")[0] for name in names}
    parent = parents.pop()
    if parents or not parent or not isinstance(model.get_submodule(parent), nn.ModuleList):
        return None
    return [f"{parent}.{name}" for name, _ in model.get_submodule(parent).named_children()]


def run_head(model: nn.Module, layers: Sequence[str], given: Tensor, run: Callable[[], Tensor]) -> Tensor:
    """Run what comes after all layers on what the last of them gave; return what `run` returns."""
    with ExitStack() as stack:
        _only(model, layers[0].rpartition(".")[0], (), stack)
        first = model.get_submodule(layers[0])
        stack.callback(first.register_forward_pre_hook(lambda _, args: (given, *args[1:])).remove)
        return run()


def run_range(model: nn.Module, stretch: Stretch, given: Tensor, run: Callable[[], object]) -> Tensor:
    """Run a range of layers on what went into the first of them; return what comes out of the last.

    The model is run as a whole, with masks, positions and all else that it hands to its layers, but the other
    layers hand on what they are given.

    Parameters
    ----------
    model
        In `quiet`.
    stretch
        From `layer_ranges`.
    given
        What goes in.
    run
        Runs the model on the batch that `given` is of.
    """
    parent = stretch.modules[0].rpartition(".")[0]
    came: list[Tensor] = []

    def enter(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return given, *args[1:]

    with ExitStack() as stack:
        _only(model, parent, stretch.modules, stack)
        first, last = (model.get_submodule(stretch.modules[end]) for end in (0, -1))
        stack.callback(first.register_forward_pre_hook(enter).remove)
        stack.callback(last.register_forward_hook(lambda _module, _args, output: came.append(output)).remove)
        run()
    return came[0]


def _only(model: nn.Module, parent: str, modules: Sequence[str], stack: ExitStack) -> None:
    """Let layers that are not named hand on what they are given, until the stack is left."""
    for name, layer in model.get_submodule(parent).named_children():
        if f"{parent}.{name}" not in modules:
            stack.enter_context(forward_of(layer, _hand_on))


def _hand_on(states: Tensor, *_args: Any, **_named: Any) -> Tensor:
    return states


def _give_the_same_alone(model: nn.Module, order: Sequence[str], found: Sequence[Stretch]) -> bool:
    """Whether every layer is called once, in order, and every range gives alone what it gave in the whole."""
    seen: list[tuple[str, Tensor, Tensor]] = []

    def look(name: str, _module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args and all(isinstance(each, Tensor) and each.ndim == 3 for each in (args[0], output)):
            seen.append((name, args[0], output))

    with ExitStack() as hooks:
        for name in order:
            hooks.callback(model.get_submodule(name).register_forward_hook(partial(look, name)).remove)
        look_once(model)
    if [name for name, _, _ in seen] != list(order):
        return False
    states = {name: (given, output) for name, given, output in seen}
    return all(
        torch.equal(
            run_range(model, stretch, states[stretch.modules[0]][0], partial(look_once, model)),
            states[stretch.modules[-1]][1],
        )
        for stretch in found
    )
