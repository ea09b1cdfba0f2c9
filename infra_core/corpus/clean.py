"""Raw rows → kept and dropped rows. Row-local: what happens to a row depends on that row alone."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from infra_core.corpus.difficulty import with_difficulty
from infra_core.corpus.faults import FAULTS
from infra_core.corpus.mapping import Drop, ReadyMapping, map_rows, ready
from infra_core.corpus.paths import MISSING, look_up
from infra_core.corpus.schema import CORPUS, DROPPED, example_id
from infra_core.corpus.secrets import masked
from infra_core.errors import DataError, RequestError
from infra_core.recipe import CleanParams, Source
from infra_core.verify.code import read_problem
from infra_core.verify.judge import Candidate, judge_answers

Found = dict[str, str | None] | Drop
CountTokens = Callable[[pl.DataFrame], Iterable[tuple[int, int]]]


def ingest_rows(
    rows: Iterable[tuple[str, dict[str, Any]]],
    source: Source,
    clean: CleanParams,
    *,
    need_response: bool,
    check_columns: bool = True,
    count_tokens: CountTokens | None = None,
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
    count_tokens
        As `render.token_counter` gives; asked only where `clean` limits tokens.

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
    found = [
        (reference, raw, fields)
        for raw_ref, raw in rows
        for reference, fields in _examples(raw_ref, raw, mapping, source, need_response=need_response)
    ]
    judged = [_cleaned(fields, raw, clean, need_response=need_response) for _, raw, fields in found]
    if need_response:
        judged = _within_length(judged, clean, count_tokens)
        judged = _verified(judged, clean)
    kept: dict[str, dict[str, str | None]] = {}
    dropped = []
    for (raw_ref, raw, _), fields in zip(found, judged, strict=True):
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


def _examples(
    raw_ref: str, raw: dict[str, Any], mapping: ReadyMapping, source: Source, *, need_response: bool
) -> Iterator[tuple[str, Found]]:
    """Yield what a raw row becomes, each with its reference: "file#line", or "file#line.3" of several."""
    if "_unreadable" in raw:
        yield raw_ref, Drop(f"not a row: {raw.get('_error')}")
        return
    found = map_rows(
        raw,
        mapping,
        domain=source.domain,
        source=source.name,
        license=source.license,
        need_response=need_response,
    )
    for number, fields in enumerate(found, 1):
        if len(found) > 1 and not isinstance(fields, Drop):
            fields = fields | {"group": fields["group"] or raw_ref}
        yield f"{raw_ref}.{number}" if len(found) > 1 else raw_ref, fields


def _cleaned(fields: Found, raw: Mapping[str, Any], clean: CleanParams, *, need_response: bool) -> Found:
    if isinstance(fields, Drop):
        return fields
    # A lone surrogate is half a character: JSON can spell it, UTF-8 and tokenizers cannot.
    broken = [name for name, value in fields.items() if value is not None and not _is_text(value)]
    if broken:
        return Drop(f"not Unicode: lone surrogate in {', '.join(broken)}")
    if not need_response:
        return _unjudged(fields) or fields
    faults = (fault(fields, raw, clean) for fault in FAULTS)
    reason = next((reason for reason in faults if reason), None)
    if reason:
        return Drop(reason)
    return _without_secrets(fields) if clean.secrets == "mask" else fields


def _unjudged(fields: Mapping[str, str | None]) -> Drop | None:
    """Return why answers to a question could not be judged, before anybody is trained to answer it."""
    if fields["tests"] is not None:
        try:
            read_problem(fields["tests"])
        except DataError as error:
            return Drop(str(error))
    elif fields["answer"] is None:
        return Drop("nothing to judge by: neither answer nor tests")
    return None


def _without_secrets(fields: dict[str, str | None]) -> dict[str, str | None]:
    """Put the kind of a secret in its place; what the row's own tests hold belongs to the problem."""
    known = fields["tests"] or ""
    texts = {name: masked(fields[name] or "", known=known) for name in ("prompt", "response")}
    if all(texts[name] == fields[name] for name in texts):
        return fields
    identity = example_id(fields["domain"] or "", texts["prompt"], texts["response"])
    return fields | texts | {"example_id": identity}


def _within_length(rows: list[Found], clean: CleanParams, count_tokens: CountTokens | None) -> list[Found]:
    """Drop rows whose responses have too few or too many tokens.

    Raises
    ------
    RequestError
        If tokens are asked for and nothing counts them.
    """
    if not clean.counts_tokens:
        return rows
    if count_tokens is None:
        raise RequestError("clean.max_response_tokens asks for tokens, and no tokenizer was given")
    texts = [fields for fields in rows if not isinstance(fields, Drop)]
    schema = {"prompt": pl.String(), "response": pl.String()}
    counts = iter(
        count_tokens(pl.DataFrame([(one["prompt"], one["response"]) for one in texts], schema, orient="row"))
    )
    least, most = clean.min_response_tokens or 0, clean.max_response_tokens

    def judged(fields: Found) -> Found:
        if isinstance(fields, Drop):
            return fields
        _, tokens = next(counts)
        if tokens < least:
            return Drop(f"too short: {tokens} tokens, fewer than {least}")
        if most is not None and tokens > most:
            return Drop(f"too long: {tokens} tokens, more than {most}")
        return fields

    return [judged(fields) for fields in rows]


def _verified(rows: list[Found], clean: CleanParams) -> list[Found]:
    """Judge a share of the rows with an answer or tests, chosen by their ids, and drop the wrong ones."""
    if clean.verify is None:
        return rows
    chosen = [
        (place, "code" if fields["tests"] is not None else "math", fields)
        for place, fields in enumerate(rows)
        if not isinstance(fields, Drop)
        and (fields["tests"] is not None or fields["answer"] is not None)
        and int(str(fields["example_id"])[:8], 16) < clean.verify * 16**8
    ]
    judged = list(rows)
    for kind in ("math", "code"):
        here = [(place, fields) for place, one, fields in chosen if one == kind]
        candidates = [Candidate(f["response"] or "", f["answer"], f["tests"]) for _, f in here]
        for (place, _), verdict in zip(here, judge_answers(kind, candidates), strict=True):
            if not verdict.correct:
                judged[place] = Drop(f"wrong answer: {verdict.why}")
    return judged


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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
