"""The linear maps that get factors: whole modules, blocks of fused ones, experts, adapters.

A block is what one Kronecker factor pair describes. Most are a module. A projection that several maps were
fused into (q, k and v of Phi-3 and GPT-2, gate and up of Phi-3) is as many blocks, because the gradients of
its parts have nothing to do with each other; each expert of a mixture is its own, fed with its own tokens.
What is too wide to have a covariance of may be cut into blocks of some rows and columns.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from infra_core.errors import DataError
from infra_core.lm.modules import HEADS, MODULES, Linear, meant

CHOICES = MODULES | {"lora": r"(^|\.)lora_[AB](\.|$)"}
"""Names of choices and the block names they mean; any other choice is itself a regular expression."""

ADAPTER = re.compile(CHOICES["lora"])
EXPERTS = ("gate_up_proj", "down_proj")
PIECE = re.compile(
    r"(?P<whole>.+?)(?:\.r(?P<row>\d+)of(?P<rows>\d+))?(?:\.c(?P<column>\d+)of(?P<columns>\d+))?"
)
"""The name of a block, cut or whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One linear map of a model.

    Attributes
    ----------
    name
        Unique in the model: the module's, with the part or the expert behind it where there are several.
    site
        Name of the module that it runs in.
    parameter
        Full name of the parameter that holds its weight; that of its bias beside it.
    d_out, d_in
        Of its weight gradient; a bias counts as one more input that is always 1.
    outputs
        Which outputs of the parameter are its own.
    expert
        Which slice of a parameter that holds many experts; None elsewhere.
    transposed
        Whether the parameter is kept d_in × d_out, as `Conv1D` does.
    inputs
        Which of its inputs, the bias apart.
    """

    name: str
    site: str
    parameter: str
    bias: str | None
    d_out: int
    d_in: int
    outputs: slice
    expert: int | None = None
    transposed: bool = False
    inputs: slice = field(default_factory=lambda: slice(None))

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        return self.d_out, self.d_in


def choose_blocks(model: nn.Module, choice: str, widest: int | None = None) -> dict[str, Block]:
    """Return the blocks meant by `choice`, never the embedding or the output head.

    Adapters (LoRA) are meant only by ``lora`` or by a pattern that names them: with them in place, the
    weights under them do not train.

    Parameters
    ----------
    model
        Any model of `nn.Linear`, transformers' `Conv1D`, or experts in the layout of Mixtral and Qwen.
    choice
        ``mlp``, ``attention``, ``all``, ``lora``, or a regular expression searched for in names of whole
        blocks.
    widest
        Outputs and inputs of a block at most; those of more are cut evenly. None cuts nothing.

    Returns
    -------
    dict
        By block name, in the model's order.

    Raises
    ------
    RequestError
        If `choice` is no regular expression, or matches nothing; the message lists what there is.
    """
    found = blocks_of(model)
    chosen = meant(found, choice, CHOICES, never=ADAPTER if choice in MODULES else None)
    pieces = (piece for name in chosen for piece in _pieces(found[name], widest))
    return {piece.name: piece for piece in pieces}


def whole_of(name: str) -> str:
    """Return the name of the block that a piece was cut from; of a whole one its own.

    Examples
    --------
    >>> whole_of("layers.0.mlp.down_proj.c1of4"), whole_of("layers.0.mlp.down_proj")
    ('layers.0.mlp.down_proj', 'layers.0.mlp.down_proj')
    """
    found = PIECE.fullmatch(name)
    return found["whole"] if found else name


def blocks_shaped(
    model: nn.Module, shapes: Mapping[str, tuple[int, int] | None], made_for: str
) -> dict[str, Block]:
    """Return the named blocks after checking that what was made for them fits.

    Parameters
    ----------
    model
        The model they should be in.
    shapes
        By block name: (d_out, d_in), or None to take any.
    made_for
        What has these shapes, for the message.

    Returns
    -------
    dict
        By block name, in the order of `shapes`.

    Raises
    ------
    DataError
        If a block is missing or of another shape: it was made for another model.
    """
    found = blocks_of(model)
    found |= {name: piece for name in shapes if (piece := _named(found, name)) is not None}
    for name, shape in shapes.items():
        if name not in found:
            raise DataError(
                f"{made_for} name module {name!r}, which this model lacks; use the one they are of"
            )
        if shape not in {None, found[name].shape}:
            raise DataError(
                f"{made_for} of module {name!r} are for a weight of {shape} (d_out, d_in with bias) but the "
                f"model has {found[name].shape}; use the model they are of"
            )
    return {name: found[name] for name in shapes}


def blocks_of(model: nn.Module) -> dict[str, Block]:
    """Return every block of a model but the output head, which is tied or far wider than the rest."""
    head = output_head(model)
    found: dict[str, Block] = {}
    for name, module in model.named_modules():
        if is_experts(module):
            found |= {block.name: block for block in _expert_blocks(name, module)}
        elif isinstance(module, Linear) and module is not head and name.rpartition(".")[2] not in HEADS:
            found |= {block.name: block for block in _linear_blocks(name, module, model)}
    return found


def _pieces(block: Block, widest: int | None) -> list[Block]:
    if widest is None:
        return [block]
    return _cut(block, -(-block.d_out // widest), -(-(block.d_in - (block.bias is not None)) // widest))


def _named(found: Mapping[str, Block], name: str) -> Block | None:
    """Return the piece of a block that a name means."""
    parts = PIECE.fullmatch(name)
    if parts is None or parts["whole"] not in found:
        return None
    pieces = _cut(found[parts["whole"]], int(parts["rows"] or 1), int(parts["columns"] or 1))
    return next((piece for piece in pieces if piece.name == name), None)


def _cut(block: Block, rows: int, columns: int) -> list[Block]:
    """Cut a block into so many pieces along its outputs, each into so many along its inputs."""
    width = block.d_in - (block.bias is not None)
    start, pieces = block.outputs.start, []
    for row, (top, bottom) in enumerate(_evenly(block.d_out, rows)):
        for column, (left, right) in enumerate(_evenly(width, columns)):
            name = block.name + (f".r{row}of{rows}" if rows > 1 else "")
            bias = block.bias if column == columns - 1 else None
            pieces.append(
                replace(
                    block,
                    name=name + (f".c{column}of{columns}" if columns > 1 else ""),
                    bias=bias,
                    d_out=bottom - top,
                    d_in=right - left + (bias is not None),
                    outputs=slice(start + top, start + bottom),
                    inputs=slice(left, right) if columns > 1 else block.inputs,
                )
            )
    return pieces


def _evenly(width: int, count: int) -> list[tuple[int, int]]:
    return list(pairwise(width * number // count for number in range(count + 1)))


def output_head(model: nn.Module) -> nn.Module | None:
    """Return the module that makes logits, or None if the model does not say."""
    # Not isinstance(PreTrainedModel): a model wrapped for adapters answers too, and is none.
    getter: Callable[[], nn.Module | None] | None = getattr(model, "get_output_embeddings", None)
    return getter() if callable(getter) else None


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds experts in the layout of Mixtral, Qwen-MoE, OLMoE and their like.

    That is: no bias, gate over up in one weight of experts × 2 widths × inputs. Others are left untracked.
    """
    stacked = all(getattr(getattr(module, name, None), "ndim", 0) == 3 for name in EXPERTS)
    plain = getattr(module, "is_concatenated", False) and getattr(module, "has_gate", False)
    odd = ("has_bias", "is_transposed", "has_post_expert_norm")
    return stacked and plain and not any(getattr(module, flag, False) for flag in odd)


def _expert_blocks(site: str, module: nn.Module) -> Iterator[Block]:
    experts, d_model, d_hidden = cast(Tensor, module.down_proj).shape
    for expert in range(experts):
        for part, outputs in (("gate", slice(0, d_hidden)), ("up", slice(d_hidden, 2 * d_hidden))):
            name, parameter = f"{site}.{expert}.{part}_proj", f"{site}.gate_up_proj"
            yield Block(name, site, parameter, None, d_hidden, d_model, outputs, expert)
        name, parameter = f"{site}.{expert}.down_proj", f"{site}.down_proj"
        yield Block(name, site, parameter, None, d_model, d_hidden, slice(0, d_model), expert)


def _linear_blocks(site: str, module: Linear, model: nn.Module) -> Iterator[Block]:
    transposed = isinstance(module, Conv1D)
    d_out, d_in = reversed(module.weight.shape) if transposed else module.weight.shape
    bias = f"{site}.bias" if module.bias is not None else None
    start = 0
    for part, width in _parts(site, int(d_out), model).items():
        yield Block(
            f"{site}.{part}" if part else site,
            site,
            f"{site}.weight",
            bias,
            width,
            int(d_in) + (bias is not None),
            slice(start, start + width),
            transposed=transposed,
        )
        start += width


def _parts(site: str, d_out: int, model: nn.Module) -> dict[str, int]:
    """Return the widths of the maps fused into a module, by name; one without a name if it is not fused."""
    kind = site.rpartition(".")[2]
    if kind == "gate_up_proj":
        return {"gate": d_out // 2, "up": d_out // 2}
    if kind in {"qkv_proj", "c_attn"}:
        config = text_config(model)
        heads = getattr(config, "num_attention_heads", 0)
        shared = getattr(config, "num_key_value_heads", None) or heads
        if heads and d_out % (heads + 2 * shared) == 0:
            width = d_out // (heads + 2 * shared)
            return {"q": heads * width, "k": shared * width, "v": shared * width}
    return {"": d_out}


def text_config(model: nn.Module) -> Any:
    """Return the config of a model's language part, or None if it has none."""
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def weight_tangents(
    model: nn.Module, blocks: Mapping[str, Block], directions: Mapping[str, Float[Tensor, "d_out d_in"]]
) -> dict[str, Tensor]:
    """Lay directions of blocks out as one tensor a parameter, by the parameters' full names.

    Where blocks are parts of a parameter, the rest of it does not move.
    """
    tangents: dict[str, Tensor] = {}
    for name, block in blocks.items():
        direction = directions[name]
        weight = direction[:, :-1] if block.bias else direction
        whole = tangents.setdefault(block.parameter, torch.zeros_like(model.get_parameter(block.parameter)))
        inside = whole if block.expert is None else whole[block.expert]
        (inside.mT if block.transposed else inside)[block.outputs, block.inputs] = weight.to(whole.dtype)
        if block.bias:
            bias = tangents.setdefault(block.bias, torch.zeros_like(model.get_parameter(block.bias)))
            bias[block.outputs] = direction[:, -1].to(bias.dtype)
    return {name: tangent.detach() for name, tangent in tangents.items()}
