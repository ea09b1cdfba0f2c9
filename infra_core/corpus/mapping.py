"""Raw row → fields of an example: declarative paths and templates, and presets for published formats."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra_core.corpus.paths import MISSING, as_text, look_up, paths_of, pieces
from infra_core.corpus.preset import Drop, Preset
from infra_core.corpus.presets import PRESETS
from infra_core.corpus.schema import example_id
from infra_core.errors import RequestError
from infra_core.recipe import ColumnMapping

FIELDS = ("prompt", "response", "answer", "tests", "difficulty", "group", "license")

__all__ = ["FIELDS", "Drop", "ReadyMapping", "map_row", "map_rows", "ready"]


@dataclass(frozen=True, slots=True)
class ReadyMapping:
    """A mapping with its preset resolved: the rule of each field, and the preset that prepares the row."""

    rules: Mapping[str, str]
    preset: Preset | None
    where: Mapping[str, re.Pattern[str]]
    correct: str | None = None
    take: str | None = None

    def columns(self) -> list[str]:
        """Return every path into the raw row that the mapping reads."""
        read = [path for rule in self.rules.values() for path in paths_of(rule) if not path.startswith("@")]
        needed = self.preset.needs if self.preset else ()
        return sorted({*read, *self.where, *needed, *((self.correct,) if self.correct else ())})

    @property
    def lists(self) -> bool:
        """Whether a row may hold several responses."""
        return bool(self.take or self.correct or (self.preset and self.preset.several))


def ready(mapping: ColumnMapping) -> ReadyMapping:
    """Resolve a mapping: the fields that it gives override those of its preset.

    Raises
    ------
    RequestError
        If the preset is unknown, a template is malformed, or nothing says where the prompt is.
    """
    preset = None
    if mapping.preset is not None:
        preset = PRESETS.get(mapping.preset)
        if preset is None:
            raise RequestError(f"mapping preset {mapping.preset!r} is unknown; there are {sorted(PRESETS)}")
    given = {field: rule for field in FIELDS if (rule := getattr(mapping, field)) is not None}
    rules = {**(preset.rules if preset else {}), **given}
    if "prompt" not in rules:
        raise RequestError(
            f"the mapping {given} does not say where the prompt is; give mapping.prompt or a preset"
        )
    patterns = _patterns(mapping.where or {})
    resolved = ReadyMapping(rules, preset, patterns, mapping.correct, mapping.take)
    resolved.columns()  # parses every template now rather than at the first row
    return resolved


def _patterns(where: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    try:
        return {path: re.compile(pattern) for path, pattern in where.items()}
    except re.error as error:
        raise RequestError(f"mapping.where has {error.pattern!r}, no regular expression: {error}") from error


def map_row(
    raw: Mapping[str, Any],
    mapping: ColumnMapping | ReadyMapping,
    *,
    domain: str,
    source: str,
    license: str | None = None,
    need_response: bool = True,
) -> dict[str, str | None] | Drop:
    """Return the text fields of one raw row, or why it has none.

    Text is taken as it is but for non-breaking spaces, which become spaces: tokenizers and Python
    parsers take them for something else.

    Parameters
    ----------
    raw
        The row as read.
    mapping
        Of its source; resolve it once with `ready` when there are many rows.
    domain, source
        Of its source.
    license
        Of its source; a mapped license column goes first.
    need_response
        Whether a row without a response is dropped. Questions of a benchmark need none.

    Returns
    -------
    dict or Drop
        The `CORPUS` columns but `raw_ref`, `difficulty` and `difficulty_method`.

    Examples
    --------
    >>> row = {"problem": "1+1?", "solution": "It is 2.", "level": "Level 1"}
    >>> mapped = map_row(row, ColumnMapping(preset="math"), domain="math", source="toy")
    >>> mapped["prompt"], mapped["response"], mapped["difficulty_raw"]
    ('1+1?', 'It is 2.', 'Level 1')
    >>> map_row({"problem": None}, ColumnMapping(prompt="problem"), domain="math", source="toy")
    Drop(reason="no prompt: 'problem' is null")
    """
    found = map_rows(
        raw,
        mapping if isinstance(mapping, ReadyMapping) else ready(mapping),
        domain=domain,
        source=source,
        license=license,
        need_response=need_response,
    )
    return found[0]


def map_rows(
    raw: Mapping[str, Any],
    plan: ReadyMapping,
    *,
    domain: str,
    source: str,
    license: str | None = None,
    need_response: bool = True,
) -> list[dict[str, str | None] | Drop]:
    """Return all that one raw row becomes: one example, or with ``take: all`` one for every response.

    Parameters are those of `map_row`, the mapping resolved.

    Examples
    --------
    >>> plan = ready(ColumnMapping(prompt="p", response="r", correct="ok", take="all"))
    >>> row = {"p": "1+1?", "r": ["2", "3"], "ok": [True, False]}
    >>> found = map_rows(row, plan, domain="math", source="toy")
    >>> found[0]["response"], found[1]
    ('2', Drop(reason='incorrect: by its own source'))
    """
    for path, pattern in plan.where.items():
        if not pattern.search(as_text(look_up(raw, path)) or ""):
            return [Drop(f"not of this source: {path!r} does not match {pattern.pattern!r}")]
    prepared = raw
    if plan.preset is not None and plan.preset.prepare is not None:
        extra = plan.preset.prepare(raw)
        if isinstance(extra, Drop):
            return [extra]
        prepared = {**raw, **extra}
    given = {"domain": domain, "source": source, "license": license}
    if not plan.lists:
        return [_fields(prepared, plan, given, need_response=need_response)]
    said = _several(prepared, plan)
    if isinstance(said, Drop):
        return [said]
    if plan.take != "all":
        right = [one for one in said if not isinstance(one, Drop)]
        said = right[:1] or [_none_right(said)]
    one_response = replace(plan, rules={**plan.rules, "response": "@response"})
    return [
        one
        if isinstance(one, Drop)
        else _fields({**prepared, "@response": one}, one_response, given, need_response=need_response)
        for one in said
    ]


def _several(prepared: Mapping[str, Any], plan: ReadyMapping) -> list[Any] | Drop:
    """Return every response of a row, or why it is not used."""
    if plan.preset is not None and plan.preset.several is not None and plan.correct is None:
        return plan.preset.several(prepared)
    rule = plan.rules.get("response", "")
    value = look_up(prepared, rule)
    said = value if isinstance(value, list) else [value]
    if plan.correct is None:
        return said or [Drop(f"no response: {rule!r} is empty")]
    flags = look_up(prepared, plan.correct)
    flags = flags if isinstance(flags, list) else [flags] * len(said)
    if len(flags) != len(said):
        return Drop(f"no response: {len(said)} of {rule!r} and {len(flags)} of {plan.correct!r}")
    wrong = Drop("incorrect: by its own source")
    pairs = [one if _says_yes(flag) else wrong for one, flag in zip(said, flags, strict=True)]
    return pairs or [Drop(f"no response: {rule!r} is empty")]


def _says_yes(flag: Any) -> bool:
    return (
        flag is True or flag == 1 or (isinstance(flag, str) and flag.strip().lower() in {"true", "yes", "1"})
    )


def _none_right(said: list[Any]) -> Drop:
    if len(said) == 1:
        return said[0]
    counts = Counter(one.reason.partition(":")[0] for one in said if isinstance(one, Drop))
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    return Drop(f"no response: of {len(said)} sampled {told}")


def _fields(
    prepared: Mapping[str, Any], plan: ReadyMapping, given: Mapping[str, Any], *, need_response: bool
) -> dict[str, str | None] | Drop:
    values: dict[str, str | None] = {}
    for field in FIELDS:
        value = _field(prepared, plan.rules.get(field), structured=field == "tests")
        needed = field == "prompt" or (field == "response" and need_response)
        if isinstance(value, Drop) and needed:
            return Drop(f"no {field}: {value.reason}")
        values[field] = None if isinstance(value, Drop) else value
    prompt, response = values["prompt"] or "", values["response"] or ""
    return {
        "example_id": example_id(given["domain"], prompt, response),
        "domain": given["domain"],
        "source": given["source"],
        "prompt": prompt,
        "response": response,
        "answer": values["answer"],
        "tests": values["tests"],
        "difficulty_raw": values["difficulty"],
        "license": values["license"] or given["license"],
        "group": values["group"],
    }


def _field(row: Mapping[str, Any], rule: str | None, *, structured: bool) -> str | Drop:
    """Return the text a rule finds, or why there is none. A structured field may be a list: as JSON."""
    if rule is None:
        return Drop("no column is mapped to it")
    if "{" not in rule:
        return _value(row, rule, structured=structured)
    text = []
    for literal, path in pieces(rule):
        text.append(literal)
        if path is not None:
            value = _value(row, path, structured=False)
            if isinstance(value, Drop):
                return value
            text.append(value)
    return "".join(text)


def _value(row: Mapping[str, Any], path: str, *, structured: bool) -> str | Drop:
    value = look_up(row, path)
    shown = path.removeprefix("@")
    if value is MISSING:
        return Drop(f"{shown!r} is missing")
    if value is None:
        return Drop(f"{shown!r} is null")
    if structured and isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, default=str)
    text = as_text(value)
    if text is None:
        return Drop(f"{shown!r} is a {type(value).__name__}, not text; map a path inside it")
    if not text.strip():
        return Drop(f"{shown!r} is empty")
    return text.replace("\xa0", " ")
