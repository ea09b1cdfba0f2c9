"""Dotted paths and templates: how a declarative mapping looks into a raw row. Pure."""

import json
import string
from collections.abc import Mapping
from functools import cache
from typing import Any

from infra_core.errors import RequestError

MISSING = object()


def look_up(row: Any, path: str) -> Any:
    """Return the value at a dotted path, or `MISSING`. A column that has dots in its name goes first.

    Examples
    --------
    >>> look_up({"conversations": [{"value": "hi"}]}, "conversations.0.value")
    'hi'
    >>> look_up({"a.b": 1}, "a.b"), look_up({}, "a") is MISSING
    (1, True)
    """
    if isinstance(row, Mapping) and path in row:
        return row[path]
    head, dot, rest = path.partition(".")
    if isinstance(row, Mapping):
        inner = row.get(head, MISSING)
    elif isinstance(row, list) and head.lstrip("-").isdigit() and -len(row) <= int(head) < len(row):
        inner = row[int(head)]
    else:
        return MISSING
    return look_up(inner, rest) if dot and inner is not MISSING else inner


@cache
def paths_of(rule: str) -> tuple[str, ...]:
    """Return the paths that a rule (a path or a template) reads.

    Raises
    ------
    RequestError
        If the rule has braces but is no template of paths.

    Examples
    --------
    >>> paths_of("solution"), paths_of("{title}: {body.0}")
    (('solution',), ('title', 'body.0'))
    """
    if "{" not in rule:
        return (rule,)
    return tuple(path for _, path in pieces(rule) if path is not None)


@cache
def pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    """Return a template as (literal text, path that follows it or None).

    Raises
    ------
    RequestError
        If braces do not close, or hold anything but a path.
    """
    try:
        parsed = [
            (text, path, spec or conversion)
            for text, path, spec, conversion in string.Formatter().parse(template)
        ]
    except ValueError as error:
        raise RequestError(
            f"mapping {template!r} is no template ({error}); double a brace that is text"
        ) from error
    if any(path == "" or extra for _, path, extra in parsed):
        raise RequestError(
            f"mapping {template!r} has braces without a plain path; double a brace that is text"
        )
    return tuple((text, path) for text, path, _ in parsed)


def as_text(value: Any) -> str | None:
    """Return a value as text, or None for null and for what is not a scalar.

    Whole floats lose their ``.0``: columns of answers that pass through a table come back as ``27.0``.

    Examples
    --------
    >>> as_text("x"), as_text(27.0), as_text(True), as_text([1]), as_text(None)
    ('x', '27', 'true', None, None)
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case int() | float():
            return json.dumps(value)
        case _:
            return None
