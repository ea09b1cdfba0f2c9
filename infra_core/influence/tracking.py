"""Watch what goes into linear maps and what gradient comes back.

A block's weight gradient over positions t is Σ δₜ aₜᵀ, with input activations a and output gradients δ; so
both are all an engine needs, and the weights themselves stay frozen. Blocks fed with the same tensor
(q, k and v; gate and up) share their activations, and with them everything computed from them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from infra_core.errors import RequestError
from infra_core.influence.blocks import Block, is_experts
from infra_core.influence.experts import experts_forward, forward_of, plain_experts
from infra_core.influence.packing import laid_out
from infra_core.lm.batching import Batch, predicting

T = TypeVar("T")
Kept = TypeVar("Kept")

OnInput = Callable[[str, Tensor, Tensor | None], Kept]
OnGradient = Callable[[str, Kept, Tensor], None]
Hooks = tuple[OnInput[Any], OnGradient[Any]]
"""What `capture` calls: with activations, and with output gradients."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """Blocks of a model, and which of them see the same input.

    Attributes
    ----------
    blocks
        By name, in the model's order.
    leaders
        For each block the first block fed with the same tensor; itself if it shares with none before it.
    """

    blocks: dict[str, Block]
    leaders: dict[str, str]

    def led(self, leader: str) -> list[str]:
        """Return the blocks that a leader leads, itself included."""
        return [name for name, first in self.leaders.items() if first == leader]

    def within(self, names: Sequence[str]) -> "Tracked":
        """Return the named blocks alone; their leaders must be among them."""
        return Tracked(
            {name: self.blocks[name] for name in names}, {name: self.leaders[name] for name in names}
        )


def track(model: nn.Module, blocks: Mapping[str, Block]) -> Tracked:
    """Run the model once over two tokens to see which blocks are fed with the same tensor.

    Raises
    ------
    RequestError
        If a module is never called, called twice, or sees something else than rows of positions.
    """
    inputs: dict[str, Tensor] = {}  # kept until the end, so that no identity is used twice
    calls: Counter[str] = Counter()

    def look(site: str, _module: nn.Module, args: tuple[Tensor, ...], _output: Tensor) -> None:
        inputs[site] = args[0]
        calls[site] += 1

    sites = {block.site: block for block in blocks.values()}
    handles = [model.get_submodule(site).register_forward_hook(partial(look, site)) for site in sites]
    try:
        shape = look_once(model)
    finally:
        for handle in handles:
            handle.remove()
    for site, block in sites.items():
        rows = shape if block.expert is None else (shape[0] * shape[1],)
        if calls[site] != 1 or inputs[site].shape[:-1] != rows:
            seen = f"inputs of shape {tuple(inputs[site].shape)}" if site in inputs else "no input"
            raise RequestError(
                f"module {site!r} is called {calls[site]} times a forward pass and sees {seen}; only modules "
                "called once, with rows × positions × width, can be tracked: leave it out with a regular "
                "expression in modules="
            )
    first: dict[tuple[object, ...], str] = {}
    leaders = {}
    for name, block in blocks.items():
        # A bias adds a column of ones, so blocks with and without one do not share their activations. What
        # goes up or down in an expert is its own.
        expert = () if block.expert is None else (block.parameter, block.expert)
        same = id(inputs[block.site]), block.inputs.start, block.inputs.stop, block.bias is not None, *expert
        leaders[name] = first.setdefault(same, name)
    return Tracked(dict(blocks), leaders)


def with_outputs(blocks: Mapping[str, Block]) -> dict[str, str]:
    """Return for each block the first one of the same outputs: pieces side by side share their gradients."""
    first: dict[tuple[str, int | None, int], str] = {}
    return {
        name: first.setdefault((block.parameter, block.expert, block.outputs.start), name)
        for name, block in blocks.items()
    }


def look_once(model: nn.Module) -> torch.Size:
    """Run the model on one row of two tokens, for hooks that look at what it does; return their shape."""
    device = next(model.parameters()).device
    ids = torch.zeros(1, 2, dtype=torch.int64, device=device)
    # transformers would look into the mask it builds, which meta tensors forbid: give them one.
    mask = torch.ones(1, 1, 2, 2, dtype=torch.bool, device=device) if device.type == "meta" else None
    with torch.no_grad(), plain_experts(model):
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    return ids.shape


@contextmanager
def capture(
    model: nn.Module,
    tracked: Tracked,
    batch: Batch,
    on_input: OnInput[Kept],
    on_gradient: OnGradient[Kept],
    *,
    backwards: int = 1,
) -> Iterator["Watch"]:
    """Hand over activations in the forward pass and output gradients in the backward passes inside it.

    Both come flat, one row for each predicting position of the batch in reading order, a bias as a last
    column of ones. The backward pass goes no deeper than the lowest tracked module.

    Parameters
    ----------
    model
        That is about to run.
    tracked
        Blocks to watch.
    batch
        What it is about to run on; its positions that predict something count.
    on_input
        Called with a leader's name, its activations, and which of the counting positions they are (None for
        all; an expert sees only the tokens sent to it). What it returns is kept until the gradients of all
        blocks it leads have come, and then forgotten.
    on_gradient
        Called with a block's name, what `on_input` returned for its leader, and its output gradients.
    backwards
        How many backward passes will follow the forward pass.

    Yields
    ------
    Watch
        Which can be silenced for a backward pass more, whose gradients are not handed over.
    """
    positions = laid_out(model, batch, predicting(batch))
    watch = Watch(tracked, positions, on_input, on_gradient, backwards)
    with ExitStack() as hooks:
        for site, members in watch.sites.items():
            module = model.get_submodule(site)
            if is_experts(module):
                forward = partial(experts_forward, module, partial(watch.expert, site))
                hooks.enter_context(forward_of(module, forward))
            else:
                handle = module.register_forward_hook(partial(watch.linear, members))
                hooks.callback(handle.remove)
        yield watch


class Watch:
    """What hooks do: hand over inputs once, gradients as they come, and forget what is no longer needed.

    Attributes
    ----------
    silent
        Whether gradients that come are not handed over.
    """

    def __init__(
        self,
        tracked: Tracked,
        positions: Bool[Tensor, "b t"],
        on_input: OnInput[Any],
        on_gradient: OnGradient[Any],
        backwards: int,
    ) -> None:
        self.tracked, self.positions = tracked, positions
        self.on_input, self.on_gradient = on_input, on_gradient
        self.silent = False
        self.kept: dict[str, Any] = {}
        self.waiting = Counter(tracked.leaders.values())
        for leader in self.waiting:
            self.waiting[leader] *= backwards
        self.sites: dict[str, list[Block]] = {}
        for block in tracked.blocks.values():
            self.sites.setdefault(block.site, []).append(block)
        # Where each position of the batch stands among those that count.
        self.rank = positions.flatten().cumsum(0) - 1

    def linear(
        self, members: list[Block], _module: nn.Module, args: tuple[Tensor, ...], output: Tensor
    ) -> None:
        """Watch a call of a linear module; its forward hook."""
        self._enter(members, args[0].detach()[self.positions], None)
        if not output.requires_grad:  # nothing below wants a gradient, so this is where backward stops
            output.requires_grad_()
        output.register_hook(lambda gradient: self._leave(members, gradient[self.positions]))

    def expert(
        self, site: str, parameter: str, expert: int, tokens: Tensor, a: Tensor, output: Tensor
    ) -> None:
        """Watch what `experts_forward` says of one product of one expert."""
        members = [
            block
            for block in self.sites[site]
            if block.expert == expert and block.parameter == f"{site}.{parameter}"
        ]
        if not members:
            return
        counting = self.positions.flatten()[tokens]
        self._enter(members, a.detach()[counting], self.rank[tokens[counting]])
        if not output.requires_grad:
            output.requires_grad_()
        output.register_hook(lambda gradient: self._leave(members, gradient[counting]))

    def _enter(self, members: list[Block], a: Tensor, at: Tensor | None) -> None:
        for block in members:
            if self.tracked.leaders[block.name] == block.name:
                own = a[:, block.inputs]
                rows = torch.cat([own, own.new_ones(len(own), 1)], dim=1) if block.bias else own
                self.kept[block.name] = self.on_input(block.name, rows, at)

    def _leave(self, members: list[Block], gradient: Tensor) -> None:
        if self.silent:
            return
        for block in members:
            leader = self.tracked.leaders[block.name]
            self.on_gradient(block.name, self.kept[leader], gradient[:, block.outputs])
            self.waiting[leader] -= 1
            if not self.waiting[leader]:
                del self.kept[leader]


def by_layer(values: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Group a mapping over block names by layer: the name up to its first number.

    Examples
    --------
    >>> by_layer({"layers.0.up": 1, "layers.0.down": 2, "layers.1.up": 3, "proj": 4})
    {'layers.0': {'layers.0.up': 1, 'layers.0.down': 2}, 'layers.1': {'layers.1.up': 3}, 'proj': {'proj': 4}}
    """
    layers: dict[str, dict[str, T]] = {}
    for name, value in values.items():
        layers.setdefault(layer_of(name), {})[name] = value
    return layers


def layer_of(name: str) -> str:
    """Return the layer a block is in: its name up to the first number."""
    found = re.match(r".*?\.\d+(?=\.)", name)
    return found[0] if found else name
