"""Raw rows → kept and dropped rows. Row-local: what happens to a row depends on that row alone."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl

from infra_core.corpus.difficulty import with_difficulty
from infra_core.corpus.mapping import Drop, ReadyMapping, map_row, ready
from infra_core.corpus.paths import MISSING, look_up
from infra_core.corpus.schema import CORPUS, DROPPED
from infra_core.errors import DataError
from infra_core.recipe import CleanParams, Source

THOUGHTS = (
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<think>", "</think>"),
)
FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})", re.MULTILINE)
CUT_SHORT = {"length", "max_tokens", "max_length"}

Fields = Mapping[str, str | None]


def ingest_rows(
    rows: Iterable[tuple[str, dict[str, Any]]],
    source: Source,
    clean: CleanParams,
    *,
    need_response: bool,
    check_columns: bool = True,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Map and clean the raw rows of one chunk; rows in = rows kept + rows dropped.

    Parameters
    ----------
    rows
        Pairs of `raw_ref` and raw row, as `sources.rows.read_rows` yields them.
    source
        Where they come from and how they are mapped.
    clean
        What is asked of a row.
    need_response
        Whether a row must have a response. Questions of a benchmark need none, but something to judge by.
    check_columns
        Whether a mapped column that no row has is an error of the recipe. Ask it of a shard's first chunk.

    Returns
    -------
    tuple of DataFrame
        `CORPUS` rows and `DROPPED` rows, both in the order of the raw rows.

    Raises
    ------
    DataError
        If `check_columns` and no row has a mapped column.
    RequestError
        If the mapping itself makes no sense.
    """
    mapping = ready(source.mapping)
    rows = list(rows)
    if check_columns:
        _check_columns([raw for _, raw in rows if "_unreadable" not in raw], mapping, source)
    kept: dict[str, dict[str, str | None]] = {}
    dropped = []
    for raw_ref, raw in rows:
        fields = _cleaned(raw, mapping, source, clean, need_response=need_response)
        if not isinstance(fields, Drop):
            first = kept.setdefault(str(fields["example_id"]), fields | {"raw_ref": raw_ref})
            if first["raw_ref"] == raw_ref:
                continue
            fields = Drop(f"repeated row: same text as {first['raw_ref']}")
        dropped.append(_dropped(raw, raw_ref, source.name, fields.reason))
    texts = {
        name: kind
        for name, kind in CORPUS.items()
        if not name.startswith("difficulty_m") and name != "difficulty"
    }
    frame = with_difficulty(pl.DataFrame(list(kept.values()), schema=texts)).select(CORPUS.keys())
    return frame, pl.DataFrame(dropped, schema=DROPPED)


def _cleaned(
    raw: dict[str, Any], mapping: ReadyMapping, source: Source, clean: CleanParams, *, need_response: bool
) -> dict[str, str | None] | Drop:
    if "_unreadable" in raw:
        return Drop(f"not a row: {raw.get('_error')}")
    fields = map_row(
        raw,
        mapping,
        domain=source.domain,
        source=source.name,
        license=source.license,
        need_response=need_response,
    )
    if isinstance(fields, Drop):
        return fields
    # A lone surrogate is half a character: JSON can spell it, UTF-8 and tokenizers cannot.
    broken = [name for name, value in fields.items() if value is not None and not _is_text(value)]
    if broken:
        return Drop(f"not Unicode: lone surrogate in {', '.join(broken)}")
    if not need_response:
        judged = fields["answer"] is not None or fields["tests"] is not None
        return fields if judged else Drop("nothing to judge by: neither answer nor tests")
    faults = (fault(fields, raw, clean) for fault in FAULTS)
    reason = next((reason for reason in faults if reason), None)
    return Drop(reason) if reason else fields


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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


FAULTS: tuple[Callable[[Fields, Mapping[str, Any], CleanParams], str | None], ...] = (
    _length,
    _thought,
    _cut_short,
    _answer,
)


def _dropped(raw: dict[str, Any], raw_ref: str, source: str, reason: str) -> dict[str, str]:
    # ASCII, so that half characters and the like survive as escapes.
    text = raw["_unreadable"] if "_unreadable" in raw else json.dumps(raw, ensure_ascii=True, default=str)
    return {
        "source": source,
        "raw_ref": raw_ref,
        "reason": _spelled(reason),
        "raw": _spelled(text),
    }


def _spelled(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _check_columns(rows: list[dict[str, Any]], mapping: ReadyMapping, source: Source) -> None:
    if not rows:
        return
    absent = [path for path in mapping.columns() if all(look_up(row, path) is MISSING for row in rows)]
    if absent:
        columns = sorted({str(column) for row in rows for column in row})[:50]
        raise DataError(
            f"source {source.name!r} ({source.uri}) has no column {', '.join(map(repr, absent))}; "
            f"it has {columns}: correct mapping in the recipe, or choose another preset"
        )
