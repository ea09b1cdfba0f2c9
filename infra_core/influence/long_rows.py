"""Rows too long for one pass: activations of one layer exist at a time, computed again on the way back.

Kept on the way up is what goes into each layer. The output head then gives the gradient of what the last
layer gave, and each layer, run once more by itself, that of what went into it. So do all rows of a model
whose layers wait on the host: weights of one layer exist at a time then, too.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from infra_core.influence.labels import Labels
from infra_core.influence.layer_ranges import run_head, run_range
from infra_core.influence.logits import scored_logits
from infra_core.influence.packing import laid_out
from infra_core.influence.stretches import Stretch
from infra_core.influence.tracking import Hooks, Tracked, capture, layer_of
from infra_core.lm.batching import Batch
from infra_core.lm.on_host import is_on_host

Gradients = Sequence[tuple[Labels, Tensor]]
"""Of the same tensor, under several labels."""

Came = Callable[[str, Gradients], None]
"""Told of a layer that is reached, and of the gradients of what it gave."""


def is_layered(model: nn.Module, batch: Batch) -> bool:
    """Whether a batch goes through layer by layer: a row that is too long, or a model that is too large."""
    return batch.oversized or is_on_host(model)


def pass_by_layer(
    model: nn.Module,
    layers: Sequence[str],
    batch: Batch,
    watching: tuple[Tracked, Hooks],
    labels: Sequence[Labels],
    loss_of: Callable[[Labels, Tensor], Tensor],
    ranges: Sequence[Stretch],
) -> tuple[dict[str, Tensor], dict[Labels, dict[str, Tensor]]]:
    """Send the gradients of a batch's loss through hooks, one layer after the other.

    Parameters
    ----------
    model
        In `quiet`.
    layers
        All of the model's, in order.
    batch
        Rows.
    watching
        Blocks, and the hooks that are given what comes of them.
    labels
        Of the losses to differentiate, in that order.
    loss_of
        Returns the loss under labels, given the logits of the scored tokens.
    ranges
        Of layers, whose ends are to be returned.

    Returns
    -------
    tuple
        What went into the first layer of each range; by labels the gradient of what came out of its last.
    """
    tracked, hooks = watching
    states = climb(model, layers, batch)
    last, gradients = states.pop().requires_grad_(), []
    logits = run_head(model, layers, last, lambda: scored_logits(model, batch))
    for number, each in enumerate(labels, 1):
        gradients.append((each, _back(last, loss_of(each, logits), None, again=number < len(labels))))
    del logits
    firsts, lasts = ({each.modules[end] for each in ranges} for end in (0, -1))
    came: dict[Labels, dict[str, Tensor]] = {}

    def come(layer: str, found: Gradients) -> None:
        if layer in lasts:
            for each, gradient in found:
                came.setdefault(each, {})[layer] = gradient

    wanted = {layer_of(name) for name in tracked.blocks}
    # A layer is run again for its blocks, or for what comes to an end below it.
    lowest = min(at + (name not in wanted) for at, name in enumerate(layers) if name in wanted | lasts)
    given = list(zip(layers, states, strict=True))
    below = descend(model, given[lowest:], batch, gradients, tracked, hooks, come)
    if lowest:
        come(layers[lowest - 1], below)
    return {layer: state for layer, state in given if layer in firsts}, came


def climb(model: nn.Module, layers: Sequence[str], batch: Batch, given: Tensor | None = None) -> list[Tensor]:
    """Run layers without gradients; return what goes into each of them, and what comes out of the last.

    Parameters
    ----------
    model
        In `quiet`.
    layers
        Next to each other, in the model's order.
    batch
        Rows.
    given
        What goes into the first; by default what the model gives it.
    """
    states: list[Tensor] = []
    laid_out(model, batch, batch.ids)  # how a model takes rows is tried before anybody looks

    def look(_module: nn.Module, args: tuple[Any, ...], _output: Tensor) -> None:
        states.append(args[0])

    with torch.no_grad(), ExitStack() as hooks:
        for name in layers:
            hooks.callback(model.get_submodule(name).register_forward_hook(look).remove)
        last = model.get_submodule(layers[-1])
        handle = last.register_forward_hook(lambda _module, _args, output: states.append(output))
        hooks.callback(handle.remove)
        if given is None:
            _run(model, batch)
        else:
            run_range(model, Stretch(tuple(layers), (), in_a_row=True), given, lambda: _run(model, batch))
    return states


def descend(
    model: nn.Module,
    states: Sequence[tuple[str, Tensor]],
    batch: Batch,
    gradients: Gradients,
    tracked: Tracked,
    hooks: Hooks,
    came: Came = lambda *_: None,
) -> Gradients:
    """Send the gradients of tracked blocks through hooks, layer by layer from the last one down.

    Parameters
    ----------
    model, batch
        As before.
    states
        Each layer with what goes into it, in the model's order.
    gradients
        Of what the last one gave, under each labels.
    tracked
        Blocks in these layers.
    hooks
        As for `capture`.
    came
        Told what comes to each layer.

    Returns
    -------
    list
        Labels and the gradient of what went into the first of the layers.
    """
    for layer, state in reversed(states):
        came(layer, gradients)
        within = tracked.within([name for name in tracked.blocks if layer_of(name) == layer])
        given = state.detach().requires_grad_()
        with capture(model, within, batch, *hooks, backwards=len(gradients)):
            output = run_range(model, Stretch((layer,), (), in_a_row=True), given, lambda: _run(model, batch))
            gradients = [
                (labels, _back(given, output, gradient, again=place + 1 < len(gradients)))
                for place, (labels, gradient) in enumerate(gradients)
            ]
    return gradients


def _back(given: Tensor, output: Tensor, gradient: Tensor | None, *, again: bool) -> Tensor:
    torch.autograd.backward([output], [gradient], retain_graph=again)
    found, given.grad = given.grad, None
    assert found is not None  # noqa: S101 - every layer gives what it is given, and something more
    return found


def _run(model: nn.Module, batch: Batch) -> None:
    scored_logits(model, batch, on_states=lambda states: states[:0])  # the head makes logits of none
