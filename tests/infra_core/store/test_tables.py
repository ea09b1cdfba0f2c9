"""Tables are what their schema says, both ways, or are refused by file and column."""

import polars as pl
import pytest

from infra_core.errors import DataError
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table, read_tables, scan_tables, table_writer, write_table

SCHEMA = {"name": pl.String(), "score": pl.Float32(), "spans": pl.List(pl.Float32())}


def frame(*names):
    rows = {"name": list(names), "score": [0.5] * len(names), "spans": [[1.0, 2.0]] * len(names)}
    return pl.DataFrame(rows, schema=SCHEMA)


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(str(tmp_path))


def build(store, write, version=1):
    return store.materialize("toy", version, None, {}, write, {})


def test_a_table_is_read_back_as_written(store):
    artifact = build(
        store, lambda out: write_table(out, "0.parquet", frame("a", "b").select(reversed(SCHEMA)), SCHEMA)
    )
    assert read_table(store, artifact, "0.parquet", SCHEMA).equals(frame("a", "b"))


def test_equal_tables_are_equal_bytes(store):
    large = pl.concat([frame("a", "b")] * 40_000)  # more rows than a row group holds
    first, second = (
        build(store, lambda out: write_table(out, "t.parquet", large, SCHEMA), v) for v in (1, 2)
    )
    assert store.manifest(first).parts == store.manifest(second).parts


def test_tables_are_joined_by_name_and_dropped_rows_stay_apart(store):
    def write(out):
        for name in ("b", "a", "c"):
            write_table(out, f"{name}.parquet", frame(name), SCHEMA)
        write_table(out, "dropped-a.parquet", pl.DataFrame({"reason": ["x"]}), {"reason": pl.String()})

    artifact = build(store, write)
    assert read_tables(store, artifact, SCHEMA)["name"].to_list() == ["a", "b", "c"]
    dropped = read_tables(store, artifact, {"reason": pl.String()}, "dropped-*.parquet")
    assert dropped["reason"].to_list() == ["x"]


def test_no_table_is_an_empty_one_of_the_schema(store):
    artifact = build(store, lambda out: None)
    assert read_tables(store, artifact, SCHEMA).equals(frame())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (frame("a").drop("score"), "no column 'score'"),
        (
            frame("a").with_columns(pl.col("score").cast(pl.Float64)),
            "column 'score' is Float64, expected Float32",
        ),
        (frame("a").with_columns(more=1), "column 'more' is not in the table's schema"),
        (frame("a").with_columns(pl.col("spans").list.first()), "column 'spans' is Float32, expected List"),
    ],
)
def test_a_table_of_another_schema_is_refused_by_file_and_column(store, wrong, words):
    with pytest.raises(DataError, match=rf"t\.parquet.*{words}"):
        build(store, lambda out: write_table(out, "t.parquet", wrong, SCHEMA))

    def write_anyway(out):
        with out.open("t.parquet") as file:
            wrong.write_parquet(file)

    artifact = build(store, write_anyway)
    with pytest.raises(DataError, match=rf"{artifact.key}/t\.parquet.*{words}"):
        read_table(store, artifact, "t.parquet", SCHEMA)


def test_a_wider_table_is_read_as_a_narrower_one_only_if_asked(store):
    artifact = build(store, lambda out: write_table(out, "t.parquet", frame("a"), SCHEMA))
    narrow = {"name": pl.String()}
    assert read_tables(store, artifact, narrow, wider=True).columns == ["name"]
    with pytest.raises(DataError, match="'score' is not in"):
        read_tables(store, artifact, narrow)


def test_a_table_with_damaged_pages_is_refused_by_file(store):
    """Its footer, and so its schema, is whole."""
    whole = build(store, lambda out: write_table(out, "t.parquet", frame(*map(str, range(1000))), SCHEMA))
    content = store.read(whole, "t.parquet")

    def write(out):
        with out.open("t.parquet") as file:
            file.write(content[:4] + b"\xff" * 200 + content[204:])

    with pytest.raises(DataError, match=r"t\.parquet is not a Parquet table"):
        read_table(store, build(store, write, version=2), "t.parquet", SCHEMA)


def test_what_is_no_table_is_refused_by_file(store):
    def write(out):
        with out.open("t.parquet") as file:
            file.write(b"not a table")

    artifact = build(store, write)
    with pytest.raises(DataError, match=r"t\.parquet is not a Parquet table"):
        read_table(store, artifact, "t.parquet", SCHEMA)


def test_a_scan_gives_the_rows_of_a_read_and_holds_few_columns(store):
    def write(out):
        for name in ("b", "a"):
            write_table(out, f"{name}.parquet", frame(name, f"{name}2"), SCHEMA)

    artifact = build(store, write)
    assert scan_tables(store, artifact, SCHEMA).collect().equals(read_tables(store, artifact, SCHEMA))
    assert scan_tables(store, artifact, {"name": pl.String()}).collect()["name"].to_list() == [
        "a",
        "a2",
        "b",
        "b2",
    ]
    with pytest.raises(DataError, match="column 'score' is Float32, expected String"):
        scan_tables(store, artifact, {"score": pl.String()})


@pytest.mark.parametrize("root", ["file", "memory"])
def test_parts_that_another_artifact_wrote_are_scanned_where_they_lie(root, tmp_path, monkeypatch):
    monkeypatch.setenv("INFRA_CACHE", str(tmp_path / "cache"))
    store = ArtifactStore(str(tmp_path) if root == "file" else f"memory://{tmp_path.name}")

    def write(out):
        for name in out.pending({"a.parquet": {"rows": "a"}, "b.parquet": {"rows": "b"}}):
            write_table(out, name, frame(name[0]), SCHEMA)

    first = store.materialize("toy", 1, "first", {}, write, {})
    second = store.materialize("toy", 1, "second", {}, write, {})
    assert all("at" in part for part in store.manifest(second).parts.values())
    assert scan_tables(store, second, SCHEMA).collect().equals(read_tables(store, first, SCHEMA))
    assert (tmp_path / "cache").exists() == (root == "memory"), "nothing is copied on a local disk"


@pytest.mark.parametrize("cut", [1, 700, 5000])
def test_a_table_written_in_pieces_is_the_same_bytes_however_it_was_cut(store, cut):
    """Fewer rows than a row group, and several of them."""
    large = pl.concat([frame(f"{n}") for n in range(5000)])

    def write(out, step):
        with table_writer(out, "t.parquet", SCHEMA) as append:
            for start in range(0, len(large), step):
                append(large[start : start + step].select(reversed(SCHEMA)))

    whole = build(store, lambda out: write(out, len(large)), 1)
    pieces = build(store, lambda out: write(out, cut), 2)
    assert read_table(store, pieces, "t.parquet", SCHEMA).equals(large)
    assert store.manifest(whole).parts == store.manifest(pieces).parts


def test_a_table_that_nobody_wrote_a_row_of_is_empty_and_has_its_schema(store):
    def write(out):
        with table_writer(out, "t.parquet", SCHEMA):
            pass

    assert read_table(store, build(store, write), "t.parquet", SCHEMA).equals(frame())


def test_a_piece_of_another_shape_is_refused_and_leaves_no_table(store):
    def write(out):
        with table_writer(out, "t.parquet", SCHEMA) as append:
            append(frame("a"))
            append(frame("b").drop("score"))

    with pytest.raises(DataError, match=r"t\.parquet has no column 'score'"):
        build(store, write)
