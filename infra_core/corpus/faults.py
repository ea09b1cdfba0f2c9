"""What may be wrong with a row: each fault is a function that gives the reason, "what: evidence", or None."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from infra_core.corpus.language import language
from infra_core.corpus.secrets import secrets
from infra_core.recipe import CleanParams
from infra_core.verify.response import THOUGHTS

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})", re.MULTILINE)
CUT_SHORT = {"length", "max_tokens", "max_length"}

Fields = Mapping[str, str | None]


def _cut_short(fields: Fields, raw: Mapping[str, Any], clean: CleanParams) -> str | None:
    """Truncated, by the source's own word or by what is left open."""
    finish = raw.get("finish_reason")
    if isinstance(finish, str) and finish.lower() in CUT_SHORT:
        return f"truncated: finish_reason is {finish!r}"
    response = fields["response"] or ""
    if len(FENCE.findall(response)) % 2:
        return "truncated: a code fence is opened and not closed"
    tail = response[max(0, response.rfind("\\boxed{")) :]
    if tail.startswith("\\boxed{") and tail.count("{") > tail.count("}"):
        return "truncated: the last \\boxed{ is not closed"
    return None


def _thought(fields: Fields, raw: Mapping[str, Any], clean: CleanParams) -> str | None:
    """A chain of thought that never ends, or that is not there."""
    response = fields["response"] or ""
    for begin, end in THOUGHTS:
        before, opened, inside = response.partition(begin)
        thought, closed, _ = inside.partition(end)
        if opened and not closed:
            return f"thought not closed: {begin} without {end}"
        if opened and not thought.strip():
            return f"thought empty: nothing between {begin} and {end}"
        # Templates that open the thought in the prompt leave only its end: fine if there is something.
        if not opened and end in before and not before.partition(end)[0].strip():
            return f"thought empty: nothing before {end}"
    return None


def _length(fields: Fields, raw: Mapping[str, Any], clean: CleanParams) -> str | None:
    characters = len(fields["response"] or "")
    if characters < clean.min_response_chars:
        return f"too short: {characters} characters, fewer than {clean.min_response_chars}"
    if characters > clean.max_response_chars:
        return f"too long: {characters} characters, more than {clean.max_response_chars}"
    return None


def _answer(fields: Fields, raw: Mapping[str, Any], clean: CleanParams) -> str | None:
    if clean.require_answer and fields["answer"] is None and fields["tests"] is None:
        return "no answer: neither answer nor tests"
    return None


def _secret(fields: Fields, raw: Mapping[str, Any], clean: CleanParams) -> str | None:
    if clean.secrets != "drop":
        return None
    known = fields["tests"] or ""
    found = secrets(f"{fields['prompt']}\n{fields['response']}", known=known)
    # The kind alone: a reason is printed, and kept beside the rows.
    return f"secret: {found[0][0]}" if found else None


def _license(fields: Fields, raw: Mapping[str, Any], clean: CleanParams) -> str | None:
    if clean.licenses is None:
        return None
    given = fields["license"]
    if given is None:
        return "license: none is stated"
    wanted = {name.casefold() for name in clean.licenses}
    return None if given.casefold() in wanted else f"license: {given!r} is not asked for"


def _language(fields: Fields, raw: Mapping[str, Any], clean: CleanParams) -> str | None:
    if clean.languages is None:
        return None
    for name in ("prompt", "response"):
        found = language(fields[name] or "")
        if found is not None and found not in clean.languages:
            return f"language: the {name} is in {found!r}"
    return None


FAULTS: tuple[Callable[[Fields, Mapping[str, Any], CleanParams], str | None], ...] = (
    _length,
    _thought,
    _cut_short,
    _answer,
    _license,
    _secret,
    _language,
)
