"""Rows of every format, in chunks, from files that are whole and from files that are not."""

import csv
import gzip
import json
import struct
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import DataError
from infra_core.sources.catalog import Shard, catalog
from infra_core.sources.rows import PART_ROWS, chunk_shards, count_rows, part_name, read_chunks, read_rows

ROWS = [{"n": i, "text": f"línea {i}\n" * (i % 3), "list": [i, None]} for i in range(700)]


def as_jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=300)


def write_csv(path):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["n", "text", "list"])
        writer.writeheader()
        writer.writerows(ROWS)


WRITERS = {
    "a.jsonl": lambda path: path.write_bytes(as_jsonl(ROWS)),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(as_jsonl(ROWS))),
    "a.jsonl.zst": lambda path: path.write_bytes(pa.compress(as_jsonl(ROWS), codec="zstd", asbytes=True)),
    "a.json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "a.json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    "a.parquet": write_parquet,
    "a.csv": write_csv,
}


def shard(path, **changes):
    (found,) = catalog(str(path), **changes)
    return found


def read(path, **limits):
    return [row for _, row in read_rows(shard(path), **limits)]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_format_gives_the_same_rows_and_counts_them(tmp_path, name):
    WRITERS[name](tmp_path / name)
    expected = [{key: str(value) for key, value in row.items()} for row in ROWS] if name == "a.csv" else ROWS
    assert read(tmp_path / name) == expected
    assert count_rows(shard(tmp_path / name)) == len(ROWS)


def test_a_dataset_saved_by_datasets_is_read(tmp_path):
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "d")
    assert read(tmp_path / "d") == ROWS


@pytest.mark.parametrize("name", [*sorted(WRITERS), "d"])
@settings(deadline=None, max_examples=8)
@given(start=st.integers(0, 750), size=st.integers(0, 750))
def test_a_slice_of_rows_is_that_slice(tmp_path_factory, name, start, size):
    path = tmp_path_factory.getbasetemp() / "slices" / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        Dataset.from_list(ROWS).save_to_disk(path) if name == "d" else WRITERS[name](path)
    whole = list(read_rows(shard(path)))
    assert list(read_rows(shard(path), start=start, stop=start + size)) == whole[start : start + size]


def test_references_are_lines_of_the_file(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n  \n{"a": 2}\n')
    assert list(read_rows(shard(tmp_path / "a.jsonl"))) == [("a.jsonl#1", {"a": 1}), ("a.jsonl#4", {"a": 2})]
    (tmp_path / "a.csv").write_text('a\n"x\ny"\nz\n')
    assert list(read_rows(shard(tmp_path / "a.csv"))) == [("a.csv#2", {"a": "x\ny"}), ("a.csv#4", {"a": "z"})]


def test_text_in_csv_stays_text(tmp_path):
    """An AIME answer is 073, and a typed reader makes 73 of it."""
    (tmp_path / "a.csv").write_text("answer\n073\n27.0\n")
    assert read(tmp_path / "a.csv") == [{"answer": "073"}, {"answer": "27.0"}]


def test_a_csv_field_may_be_as_long_as_a_chain_of_thought(tmp_path):
    (tmp_path / "a.csv").write_text(f"a\n{'x' * 300_000}\n")
    assert len(read(tmp_path / "a.csv")[0]["a"]) == 300_000


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"a": ', "not JSON"),
        ("[1]", "a JSON list, not an object"),
        ("3", "a JSON int, not an object"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_line_that_is_no_object_stands_in_its_place_with_the_reason(tmp_path, line, why):
    (tmp_path / "a.jsonl").write_text(f'{{"a": 1}}\n{line}\n{{"a": 2}}\n')
    before, bad, after = read_rows(shard(tmp_path / "a.jsonl"))
    assert bad[0] == "a.jsonl#2"
    assert bad[1]["_unreadable"].startswith(line[:5])
    assert bad[1]["_error"].startswith(why)
    assert (before[1], after[1]) == ({"a": 1}, {"a": 2})


def test_a_csv_row_of_another_width_is_unreadable_not_shifted(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n4,5,6\n")
    assert [row.get("_error", "") for row in read(tmp_path / "a.csv")] == [
        "", "fewer fields than the 2 of the header", "more fields than the 2 of the header",
    ]  # fmt: skip


def test_json_may_be_objects_after_one_another(tmp_path):
    (tmp_path / "a.json").write_text('\ufeff{"a": 1}\n{"a": 2} {"a": [3]}')
    assert read(tmp_path / "a.json") == [{"a": 1}, {"a": 2}, {"a": [3]}]


def test_compressed_files_may_be_written_in_several_goes(tmp_path):
    """`cat a.gz b.gz` is one gzip file, and loggers append to zstd files."""
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"a": 2}\n'))
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(b'{"a": 1}\n', codec="zstd", asbytes=True) * 2)
    assert read(tmp_path / "a.jsonl.gz") == [{"a": 1}, {"a": 2}]
    assert read(tmp_path / "a.jsonl.zst") == [{"a": 1}, {"a": 1}]


def test_an_empty_file_has_no_rows(tmp_path):
    for name in ("a.jsonl", "a.json", "a.csv"):
        (tmp_path / name).write_text("")
        assert (read(tmp_path / name), count_rows(shard(tmp_path / name))) == ([], 0)


def truncated(writer):
    def write(path):
        writer(path)
        path.write_bytes(path.read_bytes()[:-20])

    return write


def lying_arrow(path):
    """Write a text that ends far behind the file: whoever believes it is killed by the kernel."""
    offsets = pa.py_buffer(struct.pack("<3i", 0, 2**30, 5))
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"hello")])
    batch = pa.record_batch([column], names=["a"])
    with pa.ipc.new_stream(str(path), batch.schema) as writer:
        writer.write_batch(batch)


DAMAGED = {
    "lying.arrow": (lying_arrow, "cannot be read"),
    "cut.jsonl.gz": (truncated(WRITERS["a.jsonl.gz"]), "Truncated"),
    "cut.jsonl.zst": (truncated(WRITERS["a.jsonl.zst"]), "Truncated"),
    "cut.parquet": (truncated(WRITERS["a.parquet"]), "cannot be read"),
    "cut.json": (truncated(WRITERS["a.json"]), "cannot be read"),
    "open.json": (lambda path: path.write_text('[{"a": 1},'), "never closed"),
    "not.jsonl.gz": (lambda path: path.write_bytes(as_jsonl(ROWS)), "cannot be read"),
    "latin.jsonl": (lambda path: path.write_bytes(b'{"a": 1}\n{"a": "\xe9"}\n'), "not UTF-8.*line 2.*0xe9"),
    "utf16.jsonl": (lambda path: path.write_text('{"a": 1}\n', encoding="utf-16"), "not UTF-8"),
    "latin.csv": (lambda path: path.write_bytes(b"a\n\xe9\n"), "not UTF-8"),
    "quote.csv": (lambda path: path.write_bytes(b'a\n"x'), "cannot be read"),
}


@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_a_damaged_file_is_one_sentence_naming_the_file(tmp_path, name):
    writer, words = DAMAGED[name]
    writer(tmp_path / name)
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


def test_a_file_that_went_away_since_it_was_listed_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n")
    found = shard(path)
    path.unlink()
    with pytest.raises(DataError, match="is gone"):
        list(read_rows(found))


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    """Ten rows of a 20 MB file take memory for ten rows, in each text format."""
    row = {"text": "x" * 20_000}
    (tmp_path / "a.jsonl").write_bytes(as_jsonl([row] * 1000))
    (tmp_path / "a.json").write_text(json.dumps([row] * 1000))
    for name in ("a.jsonl", "a.json"):
        found = shard(tmp_path / name)
        tracemalloc.start()
        assert len(list(read_rows(found, stop=10))) == 10
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3_000_000, f"{name}: {peak} bytes"


def test_only_the_first_rows_if_so_asked(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_jsonl(ROWS))
    found = shard(tmp_path / "a.jsonl", rows=3)
    assert [row["n"] for _, row in read_rows(found)] == [0, 1, 2]
    assert [row["n"] for _, row in read_rows(found, start=2, stop=9)] == [2]
    assert count_rows(found) == 3
    assert [chunk[1:] for chunk in chunk_shards(found, "toy")] == [(0, 3)]


def test_chunks_tile_the_rows_and_their_names_do_not_depend_on_neighbours(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(as_jsonl(ROWS))
    alone = chunk_shards(shard(tmp_path / "b.jsonl"), "toy")
    assert [(start, stop) for _, start, stop in alone] == [(0, PART_ROWS), (PART_ROWS, 700)]
    assert [name[-11:] for name, _, _ in alone] == ["-00000.parquet"[-11:], "-00001.parquet"[-11:]]
    (tmp_path / "a.jsonl").write_bytes(as_jsonl(ROWS[:5]))
    assert alone == chunk_shards(catalog(str(tmp_path))[1], "toy")


def test_files_of_equal_content_become_different_parts(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_jsonl(ROWS))
    (tmp_path / "b.jsonl").write_bytes(as_jsonl(ROWS))
    one, two = catalog(str(tmp_path))
    assert one.fingerprint == two.fingerprint
    assert part_name(one, "toy", 0) != part_name(two, "toy", 0)


def test_several_chunks_are_read_in_one_pass(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_jsonl([{"n": i} for i in range(4 * PART_ROWS + 1)]))
    found = shard(tmp_path / "a.jsonl")
    chunks = chunk_shards(found, "toy")
    wanted = [chunks[4], chunks[1], chunks[3]]
    got = list(read_chunks(found, wanted))
    assert [chunk for chunk, _ in got] == [chunks[1], chunks[3], chunks[4]]
    assert all(rows == list(read_rows(found, start=chunk.start, stop=chunk.stop)) for chunk, rows in got)
    assert list(read_chunks(found, [])) == []


def test_made_rows_are_read_like_any_others():
    found = Shard("made://tiny_math?rows=20&seed=1", "f", "made", "tiny_math")
    whole = list(read_rows(found))
    assert [reference for reference, _ in whole] == [f"tiny_math#{i}" for i in range(1, 21)]
    assert list(read_rows(found, start=5, stop=7)) == whole[5:7]
    assert count_rows(found) == 20
