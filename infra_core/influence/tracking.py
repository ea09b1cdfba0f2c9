"""Choose linear modules, and watch what goes into them and what gradient comes back.

A module's weight gradient over positions t is Σ δₜ aₜᵀ, with input activations a and output gradients δ; so
both are all an engine needs, and the weights themselves stay frozen. Modules fed with the same tensor
(q, k and v; gate and up) share their activations, and with them everything computed from them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from infra_core.errors import DataError, RequestError

T = TypeVar("T")
Kept = TypeVar("Kept")

Linear = nn.Linear | Conv1D

CHOICES = {
    "mlp": r"(^|\.)(mlp|feed_forward|ffn|fc1|fc2)(\.|$)",
    "attention": r"(^|\.)(self_attn|attn|attention|self_attention)(\.|$)",
    "all": r"",
}
"""Names of choices and the module names they mean; any other choice is itself a regular expression."""

HEADS = ("lm_head", "embed_out", "score", "classifier")


@dataclass(frozen=True, slots=True)
class Tracked:
    """Linear modules of a model, and which of them see the same input.

    Attributes
    ----------
    modules
        By name, in the model's order.
    leaders
        For each module the first module fed with the same tensor; itself if it shares with none before it.
    """

    modules: dict[str, Linear]
    leaders: dict[str, str]


def choose_modules(model: nn.Module, choice: str) -> dict[str, Linear]:
    """Return the linear modules meant by `choice`, never the embedding or the output head.

    Parameters
    ----------
    model
        Any model of `nn.Linear` or transformers' `Conv1D` modules.
    choice
        ``mlp``, ``attention``, ``all``, or a regular expression searched for in module names.

    Returns
    -------
    dict
        Modules by name, in the model's order.

    Raises
    ------
    RequestError
        If `choice` is no regular expression, or matches nothing; the message lists what there is.
    """
    try:
        pattern = re.compile(CHOICES.get(choice, choice))
    except re.error as error:
        raise RequestError(f"modules={choice!r} is no regular expression: {error}") from error
    linear = _linear_modules(model)
    chosen = {name: module for name, module in linear.items() if pattern.search(name)}
    if not chosen:
        kinds = sorted({re.sub(r"\.\d+\.", ".*.", name) for name in linear})
        raise RequestError(
            f"no linear module matches modules={choice!r}; choose one of {sorted(CHOICES)} or a regular "
            f"expression over the names of this model: {', '.join(kinds) or 'it has no linear module'}"
        )
    return chosen


def output_head(model: nn.Module) -> nn.Module | None:
    """Return the module that makes logits, or None if the model does not say."""
    return model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None


def _linear_modules(model: nn.Module) -> dict[str, Linear]:
    """Return every linear module but the output head, which is tied or far wider than the rest."""
    output = output_head(model)
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Linear) and module is not output and name.rpartition(".")[2] not in HEADS
    }


def modules_shaped(
    model: nn.Module, shapes: Mapping[str, tuple[int, int] | None], made_for: str
) -> dict[str, Linear]:
    """Return the named modules after checking that what was made for them fits.

    Parameters
    ----------
    model
        The model they should be in.
    shapes
        By module name: (d_out, d_in) as `weight_shape` counts, or None to take any.
    made_for
        What has these shapes, for the message.

    Returns
    -------
    dict
        By module name, in the order of `shapes`.

    Raises
    ------
    DataError
        If a module is missing or of another shape: it was made for another model.
    """
    linear = _linear_modules(model)
    for name, shape in shapes.items():
        if name not in linear:
            raise DataError(
                f"{made_for} name module {name!r}, which this model lacks; use the one they are of"
            )
        if shape not in {None, weight_shape(linear[name])}:
            raise DataError(
                f"{made_for} of module {name!r} are for a weight of {shape} (d_out, d_in with bias) but the "
                f"model has {weight_shape(linear[name])}; use the model they are of"
            )
    return {name: linear[name] for name in shapes}


def weight_shape(module: Linear) -> tuple[int, int]:
    """Return (d_out, d_in) of a linear module; a bias counts as one more input that is always 1."""
    weight = module.weight
    d_out, d_in = reversed(weight.shape) if isinstance(module, Conv1D) else weight.shape
    return d_out, d_in + (module.bias is not None)


def weight_tangents(name: str, module: Linear, direction: Float[Tensor, "d_out d_in"]) -> dict[str, Tensor]:
    """Split a direction in homogeneous form into one per parameter, by the parameters' full names."""
    bias = module.bias is not None
    weight = direction[:, :-1] if bias else direction
    tangents = {f"{name}.weight": weight.mT if isinstance(module, Conv1D) else weight}
    if bias:
        tangents[f"{name}.bias"] = direction[:, -1]
    return {key: value.to(module.weight.dtype).contiguous() for key, value in tangents.items()}


def track(model: nn.Module, modules: Mapping[str, Linear]) -> Tracked:
    """Run the model once over two tokens to see which modules are fed with the same tensor.

    Raises
    ------
    RequestError
        If a module is never called, called twice, or sees something else than rows of positions.
    """
    inputs: dict[str, Tensor] = {}  # kept until the end, so that no identity is used twice
    calls: Counter[str] = Counter()

    def look(name: str, _module: nn.Module, args: tuple[Tensor, ...], _output: Tensor) -> None:
        inputs[name] = args[0]
        calls[name] += 1

    handles = [module.register_forward_hook(partial(look, name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            device = next(model.parameters()).device
            ids = torch.zeros(1, 2, dtype=torch.int64, device=device)
            # transformers would look into the mask it builds, which meta tensors forbid: give them one.
            mask = torch.ones(1, 1, 2, 2, dtype=torch.bool, device=device) if device.type == "meta" else None
            model(input_ids=ids, attention_mask=mask, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    first: dict[tuple[int, bool], str] = {}
    leaders = {}
    for name, module in modules.items():
        if calls[name] != 1 or inputs[name].shape[:-1] != ids.shape:
            seen = f"inputs of shape {tuple(inputs[name].shape)}" if name in inputs else "no input"
            raise RequestError(
                f"module {name!r} is called {calls[name]} times a forward pass and sees {seen}; only modules "
                "called once, with rows × positions × width, can be tracked: leave it out with a regular "
                "expression in modules="
            )
        # A bias adds a column of ones, so modules with and without one do not share their activations.
        leaders[name] = first.setdefault((id(inputs[name]), module.bias is not None), name)
    return Tracked(dict(modules), leaders)


@contextmanager
def capture(
    tracked: Tracked,
    positions: Bool[Tensor, "B T"],
    on_input: Callable[[str, Tensor], Kept],
    on_gradient: Callable[[str, Kept, Tensor], None],
) -> Iterator[None]:
    """Hand over activations in the forward pass and output gradients in the backward pass inside it.

    Both come flat, one row for each true entry of `positions` in reading order, a bias as a last
    column of ones. The backward pass goes no deeper than the lowest tracked module.

    Parameters
    ----------
    tracked
        Modules to watch.
    positions
        Which positions of the batch count: real ones that predict something.
    on_input
        Called with a leader's name and its activations; what it returns is kept until the
        gradients of all modules it leads have come, and then forgotten.
    on_gradient
        Called with a module's name, what `on_input` returned for its leader, and its output gradients.
    """
    kept: dict[str, Kept] = {}
    waiting = Counter(tracked.leaders.values())

    def forward(name: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        leader = tracked.leaders[name]
        if name == leader:
            kept[leader] = on_input(leader, _with_ones(args[0].detach()[positions], module.bias is not None))
        if not output.requires_grad:  # nothing below wants a gradient, so this is where backward stops
            output.requires_grad_()
        output.register_hook(partial(backward, name))

    def backward(name: str, gradient: Tensor) -> None:
        leader = tracked.leaders[name]
        on_gradient(name, kept[leader], gradient[positions])
        waiting[leader] -= 1
        if not waiting[leader]:
            del kept[leader]

    handles = [m.register_forward_hook(partial(forward, name)) for name, m in tracked.modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _with_ones(rows: Float[Tensor, "N d"], bias: bool) -> Float[Tensor, "N d_in"]:
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1) if bias else rows


def by_layer(values: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Group a mapping over module names by layer: the name up to its first number.

    Examples
    --------
    >>> by_layer({"layers.0.up": 1, "layers.0.down": 2, "layers.1.up": 3, "proj": 4})
    {'layers.0': {'layers.0.up': 1, 'layers.0.down': 2}, 'layers.1': {'layers.1.up': 3}, 'proj': {'proj': 4}}
    """
    layers: dict[str, dict[str, T]] = {}
    for name, value in values.items():
        found = re.match(r".*?\.\d+(?=\.)", name)
        layers.setdefault(found[0] if found else name, {})[name] = value
    return layers
