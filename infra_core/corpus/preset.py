"""What a preset is: the rules and the row function that make a published format's rows into fields.

A row function returns extra columns, called ``@name`` so that they never hide a raw one, or a `Drop`.
It may be handed anything JSON can hold; what it cannot use it drops with the reason.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a row is not used."""

    reason: str


Prepare = Callable[[Raw], dict[str, Any] | Drop]
Several = Callable[[Raw], list[str | Drop] | Drop]
"""Every response that a row holds, or why that one is not used."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A published format: rule by field, the row function before them, the columns that function needs.

    `several` is there where a row holds several responses; one of them is the column ``@response``.
    """

    rules: Mapping[str, str]
    prepare: Prepare | None = None
    needs: tuple[str, ...] = field(default=())
    several: Several | None = None


def text_of(raw: Raw, column: str) -> str:
    """Return the text in a column, empty where there is none."""
    value = raw.get(column)
    return value if isinstance(value, str) else ""


def texts_of(raw: Raw, column: str) -> list[str]:
    """Return the texts in a column that lists them; what is no text is left out."""
    values = raw.get(column)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def first_of(raw: Raw, columns: Sequence[str]) -> Any:
    """Return what stands in the first of several columns that a row has, None if it has none."""
    return next((raw[column] for column in columns if raw.get(column) is not None), None)


def asserts(setup: str, checks: Sequence[str]) -> str:
    """Return tests that are assertions, as `infra_core.verify.code` reads them."""
    return json.dumps({"kind": "asserts", "setup": setup, "asserts": list(checks)}, sort_keys=True)
