"""Raw rows in, corpus parts out. Row-local: a file added to a source makes new parts only for itself."""

from collections.abc import Iterable, Iterator, Mapping

from pydantic import Field

from infra_core.corpus.clean import CountTokens, ingest_rows
from infra_core.corpus.mapping import Drop, map_rows, ready
from infra_core.corpus.render import token_counter
from infra_core.corpus.schema import CORPUS, DROPPED
from infra_core.errors import DataError
from infra_core.lm.load import load_tokenizer
from infra_core.recipe import CleanParams, Params, Source
from infra_core.sources.catalog import Shard, catalog, connect
from infra_core.sources.rows import chunk_shards, read_chunks, read_rows
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from tasks._checkpoint import model_folder
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
    count = token_counter(load_tokenizer(model_folder(ctx, base))) if base is not None else None
    counted_by = {"base": base.key} if base is not None else {}
    for entry in params.sources:
        for file in entry.files:
            _ingest_file(out, entry, file, params, counted_by, count)


def counting(clean: CleanParams, base: Artifact) -> Artifact | None:
    """Return the base whose tokenizer counts, if cleaning asks for tokens: else it is no input."""
    return base if clean.counts_tokens else None


def _ingest_file(
    out: WorkDir,
    entry: CataloguedSource,
    file: CataloguedFile,
    params: IngestRun,
    counted_by: Mapping[str, str],
    count_tokens: CountTokens | None,
) -> None:
    source = entry.source
    shard = Shard(file.uri, file.fingerprint, file.format, file.name, rows=source.rows)
    chunks = chunk_shards(shard, source.name)
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
        for name, kept in ((chunk.name, True), (f"dropped-{chunk.name}", False))
    }
    pending = set(out.pending(identities))
    wanted = [chunk for chunk in chunks if pending & {chunk.name, f"dropped-{chunk.name}"}]
    for chunk, rows in read_chunks(shard, wanted):
        kept, dropped = ingest_rows(
            rows,
            source,
            params.clean,
            need_response=params.need_response,
            check_columns=chunk.start == 0,
            count_tokens=count_tokens,
        )
        write_table(out, chunk.name, kept, CORPUS)
        write_table(out, f"dropped-{chunk.name}", dropped, DROPPED)


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
