"""Raw rows in, corpus parts out. Row-local: a file added to a source makes new parts only for itself."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from pydantic import Field

from infra_core.corpus.clean import ingest_rows
from infra_core.corpus.mapping import Drop, map_rows, ready
from infra_core.corpus.render import token_counter
from infra_core.corpus.schema import CORPUS, DROPPED
from infra_core.errors import DataError
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import CleanParams, Params, Source
from infra_core.sources.catalog import Shard, catalog, connect
from infra_core.sources.rows import Chunk, chunk_shards, read_chunks, read_rows
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._checkpoint import model_folder
from tasks._shares import is_seen, share_out
from tasks._stage import RunContext, stage


class CataloguedFile(Params):
    """A raw file. Its content is identity; where it lies is not, so the uri is left out of keys."""

    name: str
    fingerprint: str
    format: str
    uri: str = Field(exclude=True)


class CataloguedSource(Params):
    """A source of the recipe with the files that were found behind it."""

    source: Source = Field(exclude=True)
    declared: Source  # the same without place, so that moving the files moves no key
    files: tuple[CataloguedFile, ...]


class IngestRun(Params):
    """What one corpus is made of."""

    sources: tuple[CataloguedSource, ...]
    clean: CleanParams
    need_response: bool  # false for benchmarks: a question need not carry a reference answer


def catalogued(sources: Iterable[Source], clean: CleanParams, *, need_response: bool) -> IngestRun:
    """Look behind every source and return what `ingest` is to read.

    Raises
    ------
    DataError
        If nothing is found behind a source.
    """
    found = []
    for source in sources:
        files = tuple(
            CataloguedFile(name=shard.name, fingerprint=shard.fingerprint, format=shard.format, uri=shard.uri)
            for shard in catalog(source.uri, source.revision, rows=source.rows)
        )
        declared = source.placeless()
        found.append(CataloguedSource(source=source, declared=declared, files=files))
    return IngestRun(sources=tuple(found), clean=clean, need_response=need_response)


@stage(version=3)
def ingest(ctx: RunContext, out: WorkDir, *, base: Artifact | None = None, params: IngestRun) -> None:
    """Read, map and clean every row of every source; rows in = rows kept + rows dropped.

    `base` counts tokens; only cleaning that limits them needs it (`counting`).
    """
    counted_by = {"base": base.key} if base is not None else {}
    units = [
        reading
        for entry in params.sources
        for file in entry.files
        for reading in _readings(out, entry, file, params, counted_by, ctx.workers)
    ]
    given = Ingesting(base, params.clean, params.need_response)
    seen = [unit for unit in units if is_seen(ctx, unit.shard.uri)]
    unseen = [unit for unit in units if not is_seen(ctx, unit.shard.uri)]
    share_out(replace(ctx, workers=1), out, ingest_chunks, unseen, given)
    share_out(ctx, out, ingest_chunks, seen, given)


@dataclass(frozen=True)
class Reading:
    """Chunks of one file that are read in one pass over it."""

    source: Source
    shard: Shard
    chunks: list[Chunk]


@dataclass(frozen=True)
class Ingesting:
    """What ingesting needs beside the files."""

    base: Artifact | None
    clean: CleanParams
    need_response: bool


def ingest_chunks(ctx: RunContext, out: WorkDir, units: Sequence[Reading], given: Ingesting) -> None:
    """Write kept and dropped rows of some chunks."""
    count = None
    if given.base is not None:
        count = token_counter(load_tokenizer(model_folder(ctx, given.base)))
    for unit in units:
        out.pending([name for chunk in unit.chunks for name in _names(chunk)])  # so that errors say where
        for chunk, rows in read_chunks(unit.shard, unit.chunks):
            kept, dropped = ingest_rows(
                rows,
                unit.source,
                given.clean,
                need_response=given.need_response,
                check_columns=chunk.start == 0,
                count_tokens=count,
            )
            for name, table, schema in zip(_names(chunk), (kept, dropped), (CORPUS, DROPPED), strict=True):
                write_table(out, name, table, schema)


def counting(clean: CleanParams, base: Artifact) -> Artifact | None:
    """Return the base whose tokenizer counts, if cleaning asks for tokens: else it is no input."""
    return base if clean.counts_tokens else None


def _readings(
    out: WorkDir,
    entry: CataloguedSource,
    file: CataloguedFile,
    params: IngestRun,
    counted_by: Mapping[str, str],
    workers: int,
) -> Iterator[Reading]:
    """Yield the chunks of a file of which a part is to be written, as so many stretches as there are workers.

    Who reads one stretch need not look at what lies behind it.
    """
    shard = Shard(file.uri, file.fingerprint, file.format, file.name, rows=entry.source.rows)
    chunks = chunk_shards(shard, entry.source.name)
    # A part's own identity: this chunk of this content under this mapping and this cleaning.
    fixed = {
        "file": file,
        "source": entry.declared,
        "clean": params.clean,
        "need_response": params.need_response,
        **counted_by,
    }
    identities = {
        name: {**fixed, "rows": [chunk.start, chunk.stop], "kept": kept}
        for chunk in chunks
        for name, kept in zip(_names(chunk), (True, False), strict=True)
    }
    pending = set(out.pending(identities))
    wanted = [chunk for chunk in chunks if not pending.isdisjoint(_names(chunk))]
    length = max(1, ceil(len(wanted) / workers))
    for start in range(0, len(wanted), length):
        yield Reading(entry.source, shard, wanted[start : start + length])


def _names(chunk: Chunk) -> tuple[str, str]:
    """Return the parts a chunk becomes: its kept rows and its dropped ones."""
    return chunk.name, f"dropped-{chunk.name}"


def source_volume(source: Source) -> tuple[int, int] | None:
    """Count rows, and characters that a model would read, of a source; None if it is not here (yet)."""
    if not source.uri.startswith("made://"):
        if "://" in source.uri and not source.uri.startswith("file://"):
            return None
        filesystem, path = connect(source.uri)
        if not filesystem.exists(path) and not filesystem.glob(path):
            return None
    sizes = list(_example_sizes(source))
    return len(sizes), sum(sizes)


def _example_sizes(source: Source) -> Iterator[int]:
    mapping = ready(source.mapping)
    for shard in catalog(source.uri, source.revision, rows=source.rows):
        for _, raw in read_rows(shard):
            found = map_rows(raw, mapping, domain=source.domain, source=source.name, need_response=False)
            fitting = (fields for fields in found if not isinstance(fields, Drop))
            yield from (len(fields["prompt"] or "") + len(fields["response"] or "") for fields in fitting)


def require_rows(rows: int, pool: str) -> None:
    """Refuse an empty corpus at once, with the way to its reasons.

    Raises
    ------
    DataError
        If `rows` is zero.
    """
    if not rows:
        raise DataError(
            f"the {pool} has no usable row: all were dropped; read the reasons in the dropped-*.parquet "
            "parts of its ingest artifact (`infra show URI`), then mend the mapping or the files"
        )
