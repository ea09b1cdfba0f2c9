"""How each file format becomes a stream of rows, in memory bounded by one batch."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractBufferedFile

Row = dict[str, Any]
# Remote files are not all of what `IO` promises, but they can be read.
Stream: TypeAlias = IO[bytes] | io.BufferedReader | AbstractBufferedFile
Numbered = tuple[int, Row]  # 1-based: the line of a text file, the record of a binary one

SUFFIXES: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
COMPRESSIONS: Mapping[str, str] = {".gz": "gz", ".zst": "zst"}
CODECS: Mapping[str, str] = {"gz": "gzip", "zst": "zstd"}
BATCH_ROWS = 256
BLOCK_CHARS = 1 << 16
BETWEEN = " \t\r\n,"  # what may stand between two JSON values

csv.field_size_limit(sys.maxsize)  # a chain of thought is longer than csv's 131,072 characters


def format_of(name: str) -> str | None:
    """Return the format of a file by its name, or None if the suffix is unknown.

    Examples
    --------
    >>> format_of("a/train.jsonl.gz"), format_of("a/train-00000-of-00001.parquet"), format_of("README.md")
    ('jsonl+gz', 'parquet', None)
    """
    for suffix, compression in COMPRESSIONS.items():
        if name.endswith(suffix):
            inner = format_of(name.removesuffix(suffix))
            # Parquet and Arrow files compress inside and must be seekable.
            return f"{inner}+{compression}" if inner in {"jsonl", "json", "csv"} else None
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def read_format(kind: str, file: Stream, start: int) -> Iterator[Numbered]:
    """Yield the rows of an open file from row `start` on, each with its line."""
    inner, _, compression = kind.partition("+")
    return READERS[inner](decompressed(file, compression), start)


def count_format(kind: str, file: Stream) -> int:
    """Count the rows of an open file without keeping or, where that is possible, parsing them."""
    inner, _, compression = kind.partition("+")
    if inner == "parquet":
        return pq.ParquetFile(file).metadata.num_rows
    stream = decompressed(file, compression)
    if inner == "jsonl":
        return sum(1 for line in stream if line.strip())
    return sum(1 for _ in READERS[inner](stream, 0))


def decompressed(file: Stream, compression: str) -> Stream:
    """Return a stream of the plain bytes."""
    if not compression:
        return file
    # Arrow's codecs rather than Python's: one way for both, and Python has no zstd before 3.14.
    native = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), CODECS[compression])
    return io.BufferedReader(native, BLOCK_CHARS)


def unreadable(text: str, why: str) -> Row:
    """Return the stand-in for a row that is no JSON object; cleaning drops it with its reason."""
    return {"_unreadable": text, "_error": why}


def parse_row(text: str) -> Row:
    """Return the JSON object in `text`, or its stand-in."""
    try:
        value = json.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # also integers beyond Python's digit limit, hostile nesting
        return unreadable(text, f"not JSON ({error})")
    return as_row(value)


def as_row(value: object) -> Row:
    """Return a parsed JSON value if it is an object, else its stand-in."""
    if isinstance(value, dict):
        return value
    return unreadable(json.dumps(value), f"a JSON {type(value).__name__}, not an object")


def _jsonl(stream: Stream, start: int) -> Iterator[Numbered]:
    seen = 0
    for line, content in enumerate(stream, 1):
        if not content.strip():
            continue
        seen += 1
        if seen > start:
            try:
                text = content.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                error.reason = f"line {line}: {error.reason}"
                raise
            yield line, parse_row(text)


def _json(stream: Stream, start: int) -> Iterator[Numbered]:
    values = _json_values(io.TextIOWrapper(stream, encoding="utf-8-sig"))
    for number, value in enumerate(values, 1):
        if number > start:
            yield number, as_row(value)


def _json_values(text: io.TextIOWrapper) -> Iterator[object]:
    """Yield the elements of one array, or values after one another, without holding the file.

    Raises
    ------
    ValueError
        If it is no JSON, or an array that is never closed.
    """
    buffer = text.read(BLOCK_CHARS).lstrip(BETWEEN)
    inside = buffer.startswith("[")
    buffer, block, more = buffer.removeprefix("["), BLOCK_CHARS, True
    while more:
        fresh = text.read(block)
        more = bool(fresh)
        values, rest = _scan(buffer + fresh, inside=inside, last=not more)
        yield from values
        # A value larger than a block must not be scanned anew for every block of it.
        buffer, block = rest, BLOCK_CHARS if values else block * 2
    if inside and not buffer.startswith("]"):
        raise ValueError("the array is never closed: the file was cut short")


def _scan(buffer: str, *, inside: bool, last: bool) -> tuple[list[object], str]:
    """Return the values that are wholly in the buffer, and what is left of it.

    Raises
    ------
    ValueError
        If the buffer is the last one and what is left of it is no JSON.
    """
    scan = json.JSONDecoder().raw_decode
    values: list[object] = []
    at = 0
    while True:
        while at < len(buffer) and buffer[at] in BETWEEN:
            at += 1
        if at == len(buffer) or (inside and buffer[at] == "]"):
            return values, buffer[at:]
        try:
            value, end = scan(buffer, at)
        except ValueError:
            if last:
                raise
            return values, buffer[at:]
        if end == len(buffer) and not last:  # a number may go on in the next block
            return values, buffer[at:]
        values.append(value)
        at = end


def _csv(stream: Stream, start: int) -> Iterator[Numbered]:
    # Every value stays the text it is: typed readers turn the answer "073" into 73.
    reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    line = 2
    for index, row in enumerate(reader):
        if index >= start:
            extra = row.pop(None, None)
            short = [name for name, value in row.items() if value is None]
            if extra or short:
                why = f"{'more' if extra else 'fewer'} fields than the {len(row)} of the header"
                yield line, unreadable(json.dumps([*row.values(), *(extra or [])]), why)
            else:
                yield line, row
        line = reader.line_num + 1


def _parquet(stream: Stream, start: int) -> Iterator[Numbered]:
    file = pq.ParquetFile(stream)
    groups, first = list(range(file.num_row_groups)), 0
    while groups and first + file.metadata.row_group(groups[0]).num_rows <= start:
        first += file.metadata.row_group(groups.pop(0)).num_rows
    number = first
    for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups):
        for row in batch.to_pylist():
            number += 1
            if number > start:
                yield number, row


def _arrow(stream: Stream, start: int) -> Iterator[Numbered]:
    first = 0
    for batch in pa.ipc.open_stream(stream):
        batch.validate(full=True)  # Arrow trusts offsets: wrong ones would end this process
        skipped = min(batch.num_rows, max(0, start - first))
        for offset in range(skipped, batch.num_rows, BATCH_ROWS):
            rows = batch.slice(offset, BATCH_ROWS).to_pylist()
            yield from enumerate(rows, first + offset + 1)
        first += batch.num_rows


READERS: Mapping[str, Callable[[Stream, int], Iterator[Numbered]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
    "arrow": _arrow,
}
