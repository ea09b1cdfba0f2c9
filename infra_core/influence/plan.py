"""What factors and queries of a model weigh, and which layers are fitted at a time so that they fit.

From its config alone, if need be: meta tensors, no weights.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from infra_core.influence.blocks import Block, choose_blocks, whole_of
from infra_core.influence.passes import quiet
from infra_core.influence.tracking import by_layer, track, with_outputs
from infra_core.lm.classes import PreTrainedModel
from infra_core.recipe import FactorParams
from infra_core.recipe.params import ModuleChoice

FP32 = 4  # bytes; covariances, bases, eigenvalues and queries are all kept so
DECOMPOSING = 34  # bytes an entry, beside the covariance itself: fp64 copies and LAPACK's; measured at 2048
FITTING = ("fit_eigenbasis", "fit_factors")
GRADIENTS = 3  # of the largest block exist beside Λ: as it is, with one side rotated, and with both


@dataclass(frozen=True, slots=True)
class ModuleSize:
    """A tracked module: weight of d_out × d_in (a bias counts as one more input).

    Attributes
    ----------
    leader
        The first module fed with the same tensor; what comes of activations exists once for all it leads.
    twin
        The first one of the same outputs, likewise; by default itself.
    weight_bytes
        Of one number a weight.
    covariance_bytes
        Of its A and its G, if it is the one that holds them.
    decomposing_bytes
        That decomposing the larger of its covariances takes.
    """

    name: str
    d_out: int
    d_in: int
    leader: str
    twin: str = ""
    weight_bytes: int = field(init=False)
    covariance_bytes: int = field(init=False)
    decomposing_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Work the bytes out once: plans ask for them thousands of times."""
        side_a = self.d_in**2 if self.leader == self.name else 0
        side_g = self.d_out**2 if self.twin in {"", self.name} else 0
        object.__setattr__(self, "weight_bytes", FP32 * self.d_out * self.d_in)
        object.__setattr__(self, "covariance_bytes", FP32 * (side_g + side_a))
        object.__setattr__(self, "decomposing_bytes", DECOMPOSING * max(self.d_out, self.d_in) ** 2)


@dataclass(frozen=True, slots=True)
class FactorBytes:
    """Bytes of all tracked modules together.

    Attributes
    ----------
    covariance
        A and G; what modules share counts once.
    basis
        Q_A and Q_G: as much again, since each covariance is freed when its basis is found.
    eigenvalues
        Λ.
    query
        One preconditioned query group.
    """

    covariance: int
    basis: int
    eigenvalues: int
    query: int


@dataclass(frozen=True, slots=True)
class Need:
    """What a stage holds of its blocks at once, on the model's device.

    Attributes
    ----------
    held
        Bytes that a block adds.
    workspace
        Bytes that it takes for a moment; one block at a time.
    """

    held: Callable[[ModuleSize], int]
    workspace: Callable[[ModuleSize], int]

    def of(self, sizes: Iterable[ModuleSize]) -> int:
        """Bytes of these blocks together."""
        known = list(sizes)
        return sum(map(self.held, known)) + max(map(self.workspace, known), default=0)


def need_of(stage: str, groups: int = 1, passing: int = 0) -> Need:
    """Return what a stage needs: ``fit_eigenbasis``, ``fit_factors``, ``index``, or ``score`` for queries.

    Covariances are decomposed when the rows are through. What their passes held is free by then, so that
    decomposing needs only what it takes beyond them.

    Parameters
    ----------
    stage
        Name.
    groups
        Of queries, whose directions are held.
    passing
        Bytes that a pass holds.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    match stage:
        case "fit_eigenbasis":
            return Need(
                lambda size: size.covariance_bytes, lambda size: max(0, size.decomposing_bytes - passing)
            )
        case "fit_factors" | "index":
            return Need(
                lambda size: size.covariance_bytes + size.weight_bytes,
                lambda size: GRADIENTS * size.weight_bytes,
            )
        case "score":  # factors, one group's gradients, and what becomes of those of all groups
            return Need(
                lambda size: size.covariance_bytes + (2 + groups) * size.weight_bytes,
                lambda size: GRADIENTS * size.weight_bytes,
            )
    raise ValueError(f"no stage {stage!r} holds factors; name one of {', '.join(FITTING)}, index or score")


def partitions(
    sizes: Sequence[ModuleSize], need: Need, room: int | None, at_least: int = 1
) -> list[list[ModuleSize]]:
    """Divide blocks into groups of whole layers next to each other, each within `room` bytes, if given.

    Those nearest to the output come first: their backward passes are short. A layer that is too large by
    itself is a group nevertheless. If fewer than `at_least` would do, there are as many, alike in layers.

    Examples
    --------
    >>> sizes = [ModuleSize(f"layers.{n}.up", 8, 4, f"layers.{n}.up") for n in range(5)]
    >>> [[size.name for size in group] for group in partitions(sizes, need_of("fit_factors"), 1400)]
    [['layers.3.up', 'layers.4.up'], ['layers.1.up', 'layers.2.up'], ['layers.0.up']]
    """
    layers = [list(layer.values()) for layer in by_layer({size.name: size for size in sizes}).values()]
    groups: list[list[ModuleSize]] = []
    held = workspace = 0
    for members in reversed(layers):
        more, larger = sum(map(need.held, members)), max(map(need.workspace, members))
        if groups and (room is None or held + more + max(workspace, larger) <= room):
            groups[-1] = [*members, *groups[-1]]
            held, workspace = held + more, max(workspace, larger)
        else:
            groups.append(members)
            held, workspace = more, larger
    return groups if len(groups) >= at_least else _alike(layers, need, room, at_least)


def _alike(
    layers: Sequence[list[ModuleSize]], need: Need, room: int | None, at_least: int
) -> list[list[ModuleSize]]:
    """Return the fewest groups, `at_least` of them, that are alike in layers and have room."""
    groups = [layers]
    for count in range(min(at_least, len(layers)), len(layers) + 1):
        cuts = [len(layers) * part // count for part in range(count + 1)]
        groups = [layers[start:stop] for start, stop in reversed(list(pairwise(cuts)))]
        if room is None or all(len(each) == 1 or need.of(chain(*each)) <= room for each in groups):
            break
    return [list(chain(*each)) for each in groups]


def in_partitions(
    model: nn.Module,
    params: FactorParams,
    stage: str,
    room: int | None,
    groups: int = 1,
    *,
    at_least: int = 1,
    passing: int = 0,
) -> list[FactorParams]:
    """Return params that fit some layers each, one after the other, and together what `params` fits.

    Factors of a block depend on that block alone, so they are the same to the bit. Fit with one `KeptPasses`
    that is told of the `modules` of all, and the whole model is gone through once.

    Parameters
    ----------
    model
        That is fitted.
    params
        What is to be fitted.
    stage, groups, passing
        As in `need_of`.
    room
        Bytes for it on the model's device, beside the model and its passes; None for no limit.
    at_least
        How many there should be, for as many devices, if the model has as many layers.
    """
    if room is None and at_least == 1:
        return [params]
    with quiet(model):
        sizes = sizes_of(model, choose_blocks(model, params.modules, params.widest))
    found = partitions(sizes, need_of(stage, groups, passing), room, at_least)
    if len(found) == 1:
        return [params]
    return [params.model_copy(update={"modules": choosing(size.name for size in group)}) for group in found]


def choosing(names: Iterable[str]) -> ModuleChoice:
    """Return the choice of modules that means these blocks, or what they were cut from, and no others."""
    return "|".join(f"^{re.escape(name)}$" for name in dict.fromkeys(map(whole_of, names)))


Prepare = Callable[[PreTrainedModel], nn.Module]
"""Puts into a model what its config does not say: adapters."""


def module_sizes(
    config: PretrainedConfig,
    modules: str,
    prepare: Prepare = lambda model: model,
    widest: int | None = None,
) -> list[ModuleSize]:
    """Return the modules that a choice tracks in a model of this config, in the model's order.

    Parameters
    ----------
    config
        Of a causal language model of transformers.
    modules
        As in `FactorParams.modules`.
    prepare
        Called with the model, which has no weights; returns the one that is tracked.
    widest
        As in `FactorParams.widest`.

    Returns
    -------
    list
        One entry a module.
    """
    with torch.device("meta"):
        model = prepare(AutoModelForCausalLM.from_config(config)).eval()
    return sizes_of(model, choose_blocks(model, modules, widest))


def sizes_of(model: nn.Module, blocks: Mapping[str, Block]) -> list[ModuleSize]:
    """Return the sizes of a model's blocks, in their order."""
    leaders, twins = track(model, blocks).leaders, with_outputs(blocks)
    return [
        ModuleSize(name, *block.shape, leader=leaders[name], twin=twins[name])
        for name, block in blocks.items()
    ]


def factor_bytes(sizes: Sequence[ModuleSize]) -> FactorBytes:
    """Return what the factors of blocks will weigh.

    Examples
    --------
    >>> from transformers import LlamaConfig
    >>> shape = {"hidden_size": 4, "intermediate_size": 6, "num_attention_heads": 1}
    >>> tiny = LlamaConfig(vocab_size=8, num_hidden_layers=1, **shape)
    >>> sizes = module_sizes(tiny, "mlp")  # gate, up and down: 3 weights of 24 entries, fp32
    >>> factor_bytes(sizes).eigenvalues
    288
    """
    covariance = sum(size.covariance_bytes for size in sizes)
    weight = sum(size.weight_bytes for size in sizes)
    return FactorBytes(covariance=covariance, basis=covariance, eigenvalues=weight, query=weight)
