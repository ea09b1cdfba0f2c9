"""Parquet parts ↔ polars. The schema is given by the caller, who knows what the table means."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
from pyarrow.parquet import ParquetFile, ParquetWriter

from infra_core.errors import DataError
from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore
from infra_core.store.workdir import WorkDir

Schema = Mapping[str, Any]  # column → polars type; beartype refuses `pl.DataType` as a hint

ROW_GROUP = 65_536  # fixed, so that equal tables are equal bytes
STREAMED_ROW_GROUP = 2048  # of tables whose rows are texts, and may be long ones


def write_table(out: WorkDir, name: str, frame: pl.DataFrame, schema: Schema) -> None:
    """Write `frame` as the Parquet part `name`, its columns in the schema's order.

    Raises
    ------
    DataError
        Naming the part and the column, if a column is missing, unknown or of another type.
    """
    _check(name, frame.schema, schema)
    with out.open(name) as file:
        frame.select(list(schema)).write_parquet(file, compression="zstd", row_group_size=ROW_GROUP)


@contextmanager
def table_writer(out: WorkDir, name: str, schema: Schema) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Open the Parquet part `name` for rows that do not fit in memory together; yield what appends a frame.

    The same rows are the same bytes, however they were divided into frames.

    Raises
    ------
    DataError
        Naming the part and the column, if a frame has a column missing, unknown or of another type.
    """
    columns = _as_arrow(pl.DataFrame(schema=dict(schema))).schema
    waiting: list[pl.DataFrame] = []
    size = 0
    with out.open(name) as file, ParquetWriter(file, columns, compression="zstd") as writer:

        def append(frame: pl.DataFrame) -> None:
            nonlocal waiting, size
            _check(name, frame.schema, schema)
            waiting.append(frame.select(list(schema)))
            size += len(frame)
            if size < STREAMED_ROW_GROUP:
                return
            together = pl.concat(waiting)
            size %= STREAMED_ROW_GROUP
            whole = len(together) - size
            writer.write_table(_as_arrow(together[:whole]), row_group_size=STREAMED_ROW_GROUP)
            waiting = [together[whole:]]

        yield append
        if size:
            writer.write_table(_as_arrow(pl.concat(waiting)), row_group_size=STREAMED_ROW_GROUP)


def table_slices(
    store: ArtifactStore, artifact: Artifact, name: str, schema: Schema
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the Parquet part `name` in their order, a few thousand at a time.

    Raises
    ------
    DataError
        Naming the part and the column, if a column is missing, unknown or of another type.
    """
    [path] = store.local(artifact, [name])
    where = f"{artifact.uri}/{name}"
    _check(where, _schema_of(path, where), schema)
    with ParquetFile(path) as file:
        for batch in file.iter_batches(STREAMED_ROW_GROUP):
            yield cast(pl.DataFrame, pl.from_arrow(batch)).cast(pl.Schema(schema))


def _as_arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())


def read_table(store: ArtifactStore, artifact: Artifact, name: str, schema: Schema) -> pl.DataFrame:
    """Read the Parquet part `name`, verified and of the given schema.

    Raises
    ------
    DataError
        Naming the part and the column, if a column is missing, unknown or of another type.
    """
    return _parse(store.read(artifact, name), f"{artifact.uri}/{name}", schema)


def reread_table(out: WorkDir, name: str, schema: Schema) -> pl.DataFrame:
    """Read back a table that this build, or one that was interrupted, wrote."""
    return _parse(out.read(name), name, schema)


def table_names(store: ArtifactStore, artifact: Artifact, pattern: str = "*.parquet") -> list[str]:
    """Names of the tables that match, sorted; those of dropped rows only if `pattern` asks for them.

    Tables of dropped rows (``dropped-*``) lie beside those of kept rows and have another schema.
    """
    names = store.parts(artifact, pattern)
    return names if _is_dropped(pattern) else [name for name in names if not _is_dropped(name)]


def read_tables(
    store: ArtifactStore,
    artifact: Artifact,
    schema: Schema,
    pattern: str = "*.parquet",
    *,
    wider: bool = False,
) -> pl.DataFrame:
    """Read all tables of `table_names`, in that order, as one.

    With `wider`, tables may have columns beyond the schema, which are not read: a mixture read as a corpus.
    """
    names = table_names(store, artifact, pattern)
    frames = [frame for _, frame in each_table(store, artifact, schema, names, wider=wider)]
    return pl.concat([pl.DataFrame(schema=dict(schema)), *frames], rechunk=True)


def each_table(
    store: ArtifactStore, artifact: Artifact, schema: Schema, names: Iterable[str], *, wider: bool = False
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the name and rows of each of the tables `names`, holding one at a time; `wider` as above."""
    manifest = store.manifest(artifact)
    for name in names:
        content = store.read_listed(artifact, manifest, name)
        yield name, _parse(content, f"{artifact.uri}/{name}", schema, wider=wider)


def scan_tables(
    store: ArtifactStore, artifact: Artifact, schema: Schema, pattern: str = "*.parquet"
) -> pl.LazyFrame:
    """Return the rows of all `table_names`, in that order, as a query over their verified local files.

    For what never fits in memory: filter, join with a small table, then `sink` or collect few columns.
    Columns beyond the schema are not read.

    Raises
    ------
    DataError
        Naming the part and the column, if a column is missing or of another type.
    """
    names = table_names(store, artifact, pattern)
    paths = store.local(artifact, names)
    for name, path in zip(names, paths, strict=True):
        found = _schema_of(path, f"{artifact.uri}/{name}")
        _check(f"{artifact.uri}/{name}", _known(found, schema), schema)
    if not paths:
        return pl.LazyFrame(schema=dict(schema))
    return pl.scan_parquet(paths, hive_partitioning=False, extra_columns="ignore").select(list(schema))


def _is_dropped(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith("dropped-")


def _parse(content: bytes, where: str, schema: Schema, *, wider: bool = False) -> pl.DataFrame:
    found = _schema_of(BytesIO(content), where)
    _check(where, _known(found, schema) if wider else found, schema)
    with _readable(where):
        return pl.read_parquet(BytesIO(content), columns=list(schema), hive_partitioning=False)


def _schema_of(table: BytesIO | Path, where: str) -> Schema:
    with _readable(where):
        return pl.read_parquet_schema(table)


@contextmanager
def _readable(where: str) -> Iterator[None]:
    try:
        yield
    # What is damaged may also end in a panic of the library's own language, or ask for all memory.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, MemoryError) as error:
        told = " ".join(str(error).split())[:300]
        raise DataError(f"{where} is not a Parquet table ({told}); is it a part of another kind?") from error


def _known(found: Schema, schema: Schema) -> Schema:
    return {name: kind for name, kind in found.items() if name in schema}


def _check(where: str, found: Schema, schema: Schema) -> None:
    for column, kind in schema.items():
        if column not in found:
            raise DataError(f"{where} has no column {column!r}; it has {', '.join(found) or 'none'}")
        if found[column] != kind:
            raise DataError(f"{where}: column {column!r} is {found[column]}, expected {kind}")
    if unknown := [column for column in found if column not in schema]:
        raise DataError(f"{where}: column {unknown[0]!r} is not in the table's schema: {', '.join(schema)}")
