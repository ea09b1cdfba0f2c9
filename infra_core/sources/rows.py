"""Rows of a shard, and the fixed-size chunks that become the parts of a corpus."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from infra_core.errors import DataError
from infra_core.hub import answering
from infra_core.sources.catalog import Shard, opened
from infra_core.sources.formats import Numbered, Row, count_format, read_format
from infra_core.sources.made import made_rows

PART_ROWS = 500
Reference = str  # "file#line"


class Chunk(NamedTuple):
    """Rows `start` (inclusive) to `stop` (exclusive) of a shard, and the name of the part they become."""

    name: str
    start: int
    stop: int


def read_rows(shard: Shard, *, start: int = 0, stop: int | None = None) -> Iterator[tuple[Reference, Row]]:
    """Yield rows `start` to `stop` of a shard as ("file#line", row), holding one batch at a time.

    A line that is no JSON object yields ``{"_unreadable": text, "_error": why}`` in its place. Empty
    lines hold no row and are passed over; line numbers still count them.

    Raises
    ------
    DataError
        If the file is missing, cut short, damaged or not UTF-8.
    """
    last = min(end for end in (stop, shard.rows, float("inf")) if end is not None)
    count = None if last == float("inf") else max(0, int(last) - start)
    for number, row in islice(_numbered(shard, start), count):
        yield f"{shard.name}#{number}", row


def _numbered(shard: Shard, start: int) -> Iterator[Numbered]:
    if shard.format == "made":
        yield from islice(enumerate(made_rows(shard.uri), 1), start, None)
        return
    with _mended(shard), opened(shard.uri) as file:
        yield from read_format(shard.format, file, start)


def count_rows(shard: Shard) -> int:
    """Count the rows of a shard, reading it once (Parquet: only its footer).

    Raises
    ------
    DataError
        As `read_rows`.
    """
    if shard.format == "made":
        found = sum(1 for _ in made_rows(shard.uri))
    else:
        with _mended(shard), opened(shard.uri) as file:
            found = count_format(shard.format, file)
    return found if shard.rows is None else min(found, shard.rows)


def chunk_shards(shard: Shard, source: str) -> list[Chunk]:
    """Divide a shard into chunks of `PART_ROWS` rows, named ``<source>-<shard>-<chunk>.parquet``.

    The name is made of the shard's name and fingerprint, never of its place among others: one shard
    more renames nothing.
    """
    total = count_rows(shard)
    return [
        Chunk(part_name(shard, source, number), start, min(start + PART_ROWS, total))
        for number, start in enumerate(range(0, total, PART_ROWS))
    ]


def part_name(shard: Shard, source: str, chunk: int) -> str:
    """Return the name of a chunk's part. Files of equal content differ by name, since `raw_ref` does.

    Examples
    --------
    >>> shard = Shard("file:///a.jsonl", "f" * 64, "jsonl", "a.jsonl")
    >>> part_name(shard, "maths", 3)
    'maths-e057c5d69bfa-00003.parquet'
    """
    identity = hashlib.sha256(f"{shard.name}\t{shard.fingerprint}".encode("utf-8", "surrogatepass"))
    return f"{source}-{identity.hexdigest()[:12]}-{chunk:05d}.parquet"


def read_chunks(shard: Shard, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[tuple[Reference, Row]]]]:
    """Yield several chunks of a shard in one pass over it, skipping those that are not asked for.

    Raises
    ------
    DataError
        As `read_rows`.
    """
    wanted = sorted(chunks, key=lambda chunk: chunk.start)
    if not wanted:
        return
    position = wanted[0].start
    rows = read_rows(shard, start=position)
    for chunk in wanted:
        taken = list(islice(rows, chunk.start - position, chunk.stop - position))
        position = chunk.stop
        yield chunk, taken


@contextmanager
def _mended(shard: Shard) -> Iterator[None]:
    """Turn what a damaged file raises into one sentence.

    Raises
    ------
    DataError
        Saying what is wrong with the shard and how to mend it.
    """
    try:
        with answering(shard.uri):
            yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{shard.uri} is gone since it was listed; restore it and run again") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{shard.uri} is not UTF-8 ({error.reason}, byte {error.object[error.start]:#04x}); convert it, "
            "for example with iconv -t utf-8"
        ) from error
    # A damaged length asks for all the memory there is.
    except (OSError, csv.Error, pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
        told = " ".join(str(error).split())[:300]
        raise DataError(
            f"{shard.uri} cannot be read as {shard.format} ({told}); copy it again or convert it"
        ) from error
    except Exception as error:
        if shard.uri.startswith("file://"):
            raise  # a fault of ours
        # The clients of remote filesystems raise their own kinds.
        raise DataError(f"{shard.uri} cannot be reached ({error}); check the access and run again") from error
