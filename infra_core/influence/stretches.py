"""Stretches of a model: the submodules that can be run again from one tensor in and one gradient out."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from infra_core.influence.blocks import Block, whole_of
from infra_core.influence.tracking import layer_of, look_once


@dataclass(frozen=True, slots=True)
class Stretch:
    """Submodules fed with the same tensor or, if `in_a_row`, each with what the one before it gives.

    A layer's MLP is one, with its blocks in it; attention is fed with more than one tensor, so its linear
    maps are stretches of their own, q, k and v together. Consecutive layers are one in a row.

    Attributes
    ----------
    modules
        Names of submodules.
    blocks
        Names of all tracked blocks in them; of those that are cut, cut or whole.
    """

    modules: tuple[str, ...]
    blocks: tuple[str, ...]
    in_a_row: bool = False

    def holds(self, name: str) -> bool:
        """Whether a block is in it, or the one that it was cut from."""
        return name in self.blocks or whole_of(name) in self.blocks

    @property
    def entries(self) -> tuple[str, ...]:
        """Modules whose input must be known to run it again."""
        return self.modules[:1] if self.in_a_row else self.modules

    @property
    def exits(self) -> tuple[str, ...]:
        """Modules whose output gradient must be known."""
        return self.modules[-1:] if self.in_a_row else self.modules


def stretches(model: nn.Module, blocks: Mapping[str, Block]) -> list[Stretch] | None:
    """Cover blocks with stretches, as high up in their layers as they can begin, in the model's order.

    None if a block lies in none: it is fed with more than one tensor, as an expert without its router is.
    """
    fed = _fed_with_one_tensor(model, {name for block in blocks.values() for name in _within_layer(block)})
    modules: dict[int, dict[str, None]] = {}
    inside: dict[int, list[str]] = {}
    for name, block in blocks.items():
        covering = next((module for module in _within_layer(block) if module in fed), None)
        if covering is None:
            return None
        tensor = id(fed[covering])
        modules.setdefault(tensor, {})[covering] = None
        inside.setdefault(tensor, []).append(name)
    return [Stretch(tuple(modules[tensor]), tuple(inside[tensor])) for tensor in modules]


def _within_layer(block: Block) -> Iterator[str]:
    """Name the modules around a block's own within its layer, from the outermost to its own."""
    layer, steps = layer_of(block.site), block.site.split(".")
    for length in range(1, len(steps)):
        name = ".".join(steps[:length])
        if name.startswith(f"{layer}."):
            yield name
    yield block.site


def _fed_with_one_tensor(model: nn.Module, names: set[str]) -> dict[str, Tensor]:
    """Return what those modules are fed with that are called once, with one row of vectors, and give one."""
    fed: dict[str, list[Tensor | None]] = {}

    def look(
        name: str, _module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
        alone = len(args) == 1 and all(value is None for value in named.values())
        plain = alone and all(_is_row(each) for each in (args[0], output))
        fed.setdefault(name, []).append(args[0] if plain else None)

    with ExitStack() as hooks:
        for name in names:
            handle = model.get_submodule(name).register_forward_hook(partial(look, name), with_kwargs=True)
            hooks.callback(handle.remove)
        look_once(model)
    return {name: calls[0] for name, calls in fed.items() if len(calls) == 1 and calls[0] is not None}


def _is_row(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.shape[:-1] == (1, 2)
