"""`Artifact`: the address of a finished stage output, and the manifest that proves it finished."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from infra_core.errors import DamageError

MANIFEST = "manifest.json"
FORMAT = 1  # of the manifest file itself

_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_KEY = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AWKWARD = re.compile(r"[\x00-\x1f\x7f\\?*\[\]]")  # wildcards and version marks of some filesystems
_FIELDS = {"format", "stage", "version", "key", "params", "inputs", "parts", "provenance", "seconds"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished stage output. A value: small, hashable, safe to send between processes.

    Attributes
    ----------
    stage : str
        Name of the stage that made it, e.g. ``"fit_factors"``.
    key : str
        16 hex digits; equal keys mean equal stage, version, params and inputs.
    uri : str
        fsspec URL of its folder, e.g. ``"s3://bucket/infra/fit_factors/9f2c0e51d3a47b60"``.
    """

    stage: str
    key: str
    uri: str


class Part(TypedDict):
    """What a manifest says of a part; `at` is where it lies if another artifact of the stage wrote it."""

    sha256: str
    bytes: int
    at: NotRequired[str]  # "<stage>/<key>/<name>" under the store's root


@dataclass(frozen=True, slots=True)
class Manifest:
    """Written last into an artifact's folder; its presence is what "finished" means."""

    stage: str
    version: int
    key: str
    params: Any  # as JSON; None for a stage without
    inputs: Mapping[str, str]  # name → key
    parts: Mapping[str, Part]
    provenance: Mapping[str, str]
    seconds: float

    def to_json(self) -> str:
        """Render for people: indented, keys sorted."""
        fields = {name: getattr(self, name) for name in _FIELDS - {"format"}}
        return json.dumps({"format": FORMAT, **fields}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str, expected: tuple[str, str] | None = None) -> "Manifest":
        """Read a manifest.

        Parameters
        ----------
        text
            The file's content.
        where
            Its address, for the message.
        expected
            Stage and key that it should be of.

        Raises
        ------
        DamageError
            If it is cut short, edited into another shape, or of a format this version does not know.
        """
        try:
            fields = json.loads(text)
            fault = _fault(fields)
        except (ValueError, RecursionError) as error:  # also text that is not UTF-8
            fault = f"is not JSON ({error})"
        if not fault and expected and (fields["stage"], fields["key"]) != expected:
            fault = f"is the manifest of {fields['stage']}/{fields['key']}"
        if fault:
            raise DamageError(f"{where} {fault}; delete it and run again: parts that are whole are kept")
        parts = {name: fields["parts"][name] for name in sorted(fields["parts"])}
        return cls(**{name: fields[name] for name in _FIELDS - {"format", "parts"}}, parts=parts)


def _fault(fields: Any) -> str | None:
    """Say what is wrong with the shape of a manifest, if anything is."""
    if not isinstance(fields, dict):
        return "is not a JSON object"
    if fields.get("format") != FORMAT:
        return f"has manifest format {fields.get('format')!r}, this version reads {FORMAT}"
    if set(fields) != _FIELDS:
        return f"lacks or has too many of the fields {sorted(set(fields) ^ _FIELDS)}"
    for name, is_right in _RIGHT.items():
        if not is_right(fields[name]):
            return f"has {name} = {str(fields[name])[:80]!r}"
    return next((fault for name, part in fields["parts"].items() if (fault := _part_fault(name, part))), None)


def _is_text_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_RIGHT: dict[str, Callable[[Any], bool]] = {
    "stage": lambda value: isinstance(value, str) and bool(_STAGE.fullmatch(value)),
    "key": lambda value: isinstance(value, str) and is_key(value),
    "version": lambda value: type(value) is int,
    "seconds": lambda value: type(value) in {int, float},
    "inputs": _is_text_mapping,
    "provenance": _is_text_mapping,
    "parts": lambda value: isinstance(value, dict),
}


def _part_fault(name: str, part: Any) -> str | None:
    try:
        check_name(name)
        known = isinstance(part, dict) and {"sha256", "bytes"} <= set(part) <= {"sha256", "bytes", "at"}
        whole = known and isinstance(part["sha256"], str) and _SHA256.fullmatch(part["sha256"])
        if not (whole and type(part["bytes"]) is int and part["bytes"] >= 0):
            return f"has no sha256 and bytes for the part {name!r}"
        if "at" in part:
            split_at(part["at"])
    except ValueError as error:
        return str(error)
    return None


def check_stage(stage: str) -> None:
    """Refuse a stage name that could not be a folder's name.

    Raises
    ------
    ValueError
        Naming it.
    """
    if not _STAGE.fullmatch(stage):
        raise ValueError(f"{stage!r} cannot name a stage; use letters, digits, '_', '-' and '.'")


def is_key(text: str) -> bool:
    """Whether `text` looks like a stage key."""
    return bool(_KEY.fullmatch(text))


def check_name(name: str) -> None:
    """Refuse a part name that could leave its artifact's folder, hide, or shadow the manifest.

    Raises
    ------
    ValueError
        Naming it.
    """
    pieces = name.split("/")
    if any(not piece or piece.startswith(".") for piece in pieces) or _AWKWARD.search(name):
        raise ValueError(
            f"has or is given the part name {name!r}; a part name is relative, no piece of it is empty or "
            "starts with '.', and it holds none of \\ ? * [ ]"
        )
    if name == MANIFEST:
        raise ValueError(f"a part cannot be called {MANIFEST}: that file says the artifact is finished")


def split_at(at: str) -> tuple[str, str, str]:
    """Split "<stage>/<key>/<name>" into its three.

    Raises
    ------
    ValueError
        If it has another form, or a name that could leave the store.
    """
    stage, key, name = (*str(at).split("/", 2), "", "")[:3]
    if not (_STAGE.fullmatch(stage) and is_key(key)):
        raise ValueError(f"points to {at!r}, which is no <stage>/<key>/<name>")
    check_name(name)
    return stage, key, name
