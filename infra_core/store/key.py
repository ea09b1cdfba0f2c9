"""Stage keys: what makes one artifact the same artifact as another."""

import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum

from pydantic import BaseModel


def canonical_json(value: object) -> str:
    """Serialise `value` to JSON that is identical in every process.

    Entries whose value is ``None`` are left out at any depth: a field that is ``None`` means "as before this
    field existed". A ``None`` that is an element of a sequence holds a place and stays. Tuples are lists.

    Raises
    ------
    TypeError
        If `value` holds anything without one obvious JSON form (a set, a tensor, a callable, an open
        file). Guessing with `str()` would fork keys between runs.
    ValueError
        If `value` holds a float that is not finite.

    Examples
    --------
    >>> canonical_json({"b": (1, 2.0), "a": {"new": None}})
    '{"a":{},"b":[1,2.0]}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: object) -> object:
    match value:
        case BaseModel():
            return _plain(value.model_dump(mode="python"))  # "json" mode would turn NaN into null unseen
        case Enum():
            return _plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"cannot put {value} into a stage key; give a finite number or None")
            return value + 0.0  # -0.0 equals 0.0 and must not be another key
        case Mapping():
            return _plain_mapping(value)
        case list() | tuple():
            return [_plain(element) for element in value]
    raise TypeError(
        f"cannot put a {type(value).__qualname__} into a stage key; pass it through the run context if it "
        "does not change the result, or make it a pydantic model of plain values if it does"
    )


def _plain_mapping(value: Mapping[object, object]) -> dict[str, object]:
    plain = {}
    for name, element in value.items():
        if not isinstance(name, str) or isinstance(name, Enum):
            raise TypeError(
                f"cannot put a mapping with the key {name!r} into a stage key; keys must be strings"
            )
        if element is not None:
            plain[name] = _plain(element)
    return plain


def stage_key(stage: str, version: int, params: object, inputs: Mapping[str, str]) -> str:
    """Hash a stage's identity to 16 hex digits: name, version, params, keys of its inputs.

    Examples
    --------
    >>> stage_key("mix", 1, {"seed": 0}, {"corpus": "9f2c0e51d3a47b60"})
    'd07def11cdf9158f'
    """
    identity = {"stage": stage, "version": version, "params": params, "inputs": dict(inputs)}
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


def part_key(stage: str, version: int, identity: Mapping[str, object]) -> str:
    """Hash the identity of a row-local part to 32 hex digits; a store may hold millions of them."""
    whole = {"stage": stage, "version": version, "part": identity}
    return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:32]
