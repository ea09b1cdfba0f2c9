"""Bases, factors and blocks of an index as named tensors, as a caller may keep them: in safetensors files."""

from collections.abc import Iterable, Mapping
from dataclasses import fields

import torch
from torch import Tensor

from infra_core.influence.covariance import Eigenbasis
from infra_core.influence.factors import DiagonalFactors, Factors, IdentityFactors, ModuleFactors
from infra_core.influence.index import IndexBlock

IDENTITY = "identity"
WHOLE = -1  # in place of the number of a span


def to_tensors(values: Mapping[str, Factors] | Mapping[str, Eigenbasis]) -> dict[str, Tensor]:
    """Lay bases or factors out as named tensors.

    A tensor that modules share is listed once, under all their names: ``a.gate,a.up:q_a``. So nothing is
    stored twice, and what was shared is shared again when read.

    Parameters
    ----------
    values
        By module name; usually those of one layer (`by_layer`).

    Returns
    -------
    dict
        What `bases_from_tensors` and `factors_from_tensors` read.
    """
    sharing: dict[tuple[str, int], list[str]] = {}
    tensors: dict[tuple[str, int], Tensor] = {}
    for name, value in values.items():
        for field, tensor in _fields(value).items():
            tensors[field, id(tensor)] = tensor
            sharing.setdefault((field, id(tensor)), []).append(name)
    return {f"{','.join(names)}:{key[0]}": tensors[key] for key, names in sharing.items()}


def _fields(value: Factors | Eigenbasis) -> dict[str, Tensor]:
    if isinstance(value, IdentityFactors):
        return {IDENTITY: torch.ones(1)}
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: one if isinstance(one, Tensor) else torch.tensor(one) for name, one in found.items()}


def _by_module(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        names, _, field = key.rpartition(":")
        for name in names.split(","):
            found.setdefault(name, {})[field] = tensor
    return dict(sorted(found.items()))


def bases_from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Eigenbasis]:
    """Return the bases that `to_tensors` laid out, by block name in alphabetical order."""
    return {name: _basis(**found) for name, found in _by_module(tensors).items()}


def _basis(positions: Tensor, **found: Tensor) -> Eigenbasis:
    return Eigenbasis(**found, positions=float(positions))


def factors_from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Factors]:
    """Return the factors that `to_tensors` laid out, by block name in alphabetical order."""
    return {name: _factors(found) for name, found in _by_module(tensors).items()}


def _factors(found: Mapping[str, Tensor]) -> Factors:
    if IDENTITY in found:
        return IdentityFactors()
    n_sequences = int(found["n_sequences"])
    if "q_a" not in found:
        return DiagonalFactors(found["eigenvalues"], n_sequences)
    return ModuleFactors(found["q_a"], found["q_g"], found["eigenvalues"], n_sequences)


def block_to_tensors(block: IndexBlock, columns: Mapping[str, slice]) -> dict[str, Tensor]:
    """Lay a block of an index out as named tensors, those of each block of the model apart.

    What `block_from_tensors` reads. Where several blocks are of the same rows, each along other blocks of the
    model, their tensors are those of all together.

    Parameters
    ----------
    block
        From `index_examples`.
    columns
        Of its layout: which of them are of which block of the model.
    """
    ids = [name.encode() for name in block.example_ids]
    letters = torch.zeros(len(ids), max(map(len, ids), default=0), dtype=torch.uint8)
    for row, text in enumerate(ids):
        letters[row, : len(text)] = torch.tensor(list(text), dtype=torch.uint8)
    spans = [WHOLE if span is None else span for span in block.spans]
    found = {"example_ids": letters, "spans": torch.tensor(spans, dtype=torch.int32)}
    for number, (name, inside) in enumerate(columns.items()):
        found[f"{name}:codes"] = block.codes[:, inside].contiguous()
        found[f"{name}:scales"] = block.scales[:, number].contiguous()
    return found


def block_from_tensors(tensors: Mapping[str, Tensor], names: Iterable[str] | None = None) -> IndexBlock:
    """Return the block of an index that `block_to_tensors` laid out, its columns in the order of `names`.

    Without `names` along all blocks of the model that it has, in the order of the tensors.
    """
    have = (entry.removesuffix(":codes") for entry in tensors if entry.endswith(":codes"))
    wanted = list(have if names is None else names)
    ids = [bytes(row).rstrip(b"\0").decode() for row in tensors["example_ids"].tolist()]
    spans = [None if span == WHOLE else span for span in tensors["spans"].tolist()]
    return IndexBlock(
        ids,
        spans,
        torch.cat([tensors[f"{name}:codes"] for name in wanted], dim=1),
        torch.stack([tensors[f"{name}:scales"] for name in wanted], dim=1),
    )
