"""What is found behind an address, and what it is called."""

import hashlib

import fsspec
import pytest
from datasets import Dataset, DatasetDict

from infra_core.errors import DataError, RequestError
from infra_core.sources.catalog import Shard, catalog, content_revision, hub_uri

LINE = '{"a": 1}\n'
COMMIT = "0123456789" * 4


def put(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names(uri):
    return [shard.name for shard in catalog(str(uri))]


def test_a_file_is_one_shard_known_by_its_content(tmp_path):
    (shard,) = catalog(str(put(tmp_path, a_jsonl=LINE) / "a.jsonl"))
    assert shard.fingerprint == hashlib.sha256(LINE.encode()).hexdigest()
    assert (shard.format, shard.name) == ("jsonl", "a.jsonl")
    assert shard.uri == f"file://{tmp_path}/a.jsonl"


def test_a_glob_is_sorted_and_named_below_its_fixed_part(tmp_path):
    put(tmp_path, b_jsonl=LINE, a_jsonl=LINE, x__c_jsonl=LINE)
    assert names(tmp_path / "*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert names(tmp_path / "**/*.jsonl") == ["a.jsonl", "b.jsonl", "x/c.jsonl"]
    assert names(tmp_path / "x/c*") == ["c.jsonl"]


def test_moving_a_folder_changes_nothing_but_the_uri(tmp_path):
    put(tmp_path / "one", a_jsonl=LINE, b_jsonl=LINE * 2)
    one = catalog(str(tmp_path / "one"))
    two = catalog(str((tmp_path / "one").rename(tmp_path / "two")))
    assert [(s.name, s.fingerprint) for s in one] == [(s.name, s.fingerprint) for s in two]
    assert content_revision(one) == content_revision(two)


def test_a_name_with_glob_signs_is_still_a_name(tmp_path):
    (tmp_path / "a[1].jsonl").write_text(LINE)
    assert names(tmp_path / "a[1].jsonl") == ["a[1].jsonl"]


def test_a_folder_gives_its_data_files_and_nothing_else(tmp_path):
    put(tmp_path, a_jsonl=LINE, README_md="x", sub__b_jsonl=LINE)
    (tmp_path / ".hidden.jsonl").write_text(LINE)
    (tmp_path / "_work").mkdir()
    (tmp_path / "_work/c.jsonl").write_text(LINE)
    assert names(tmp_path) == ["a.jsonl", "sub/b.jsonl"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("none.jsonl", "no such file or folder"),
        ("*.parquet", "no file matches"),
        ("notes.txt", "unknown suffix"),
        ("empty", "holds no data file"),
        ("mixed", "several formats"),
        ("splits", r"splits \['test', 'train'\]"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_with_the_address(tmp_path, address, words):
    put(
        tmp_path,
        notes_txt="x",
        a_jsonl=LINE,
        empty__readme_md="x",
        mixed__a_jsonl=LINE,
        mixed__b_csv="a\n1\n",
    )
    put(tmp_path / "splits", **{"data__train-00000_jsonl": LINE, "data__test-00000_jsonl": LINE})
    with pytest.raises(DataError, match=words) as caught:
        catalog(str(tmp_path / address))
    assert str(tmp_path / address) in str(caught.value)


def test_a_folder_of_one_split_is_read(tmp_path):
    put(tmp_path, **{"data__train-00000-of-00002_jsonl": LINE, "data__train-00001-of-00002_jsonl": LINE})
    assert names(tmp_path) == ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"]


def test_a_saved_dataset_gives_the_files_it_lists(tmp_path):
    Dataset.from_list([{"a": i} for i in range(10)]).save_to_disk(tmp_path / "d", num_shards=2)
    (tmp_path / "d" / "data-00099-of-00100.arrow").write_bytes(b"left over from an earlier save")
    found = catalog(str(tmp_path / "d"))
    assert [(s.name, s.format) for s in found] == [
        ("data-00000-of-00002.arrow", "arrow"), ("data-00001-of-00002.arrow", "arrow"),
    ]  # fmt: skip


def test_a_saved_dataset_with_several_splits_wants_one_named(tmp_path):
    rows = Dataset.from_list([{"a": 1}])
    DatasetDict(train=rows, test=rows).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match=r"splits \['train', 'test'\]; name one"):
        catalog(str(tmp_path / "d"))
    assert len(catalog(str(tmp_path / "d" / "train"))) == 1
    DatasetDict(train=rows).save_to_disk(tmp_path / "one")
    assert len(catalog(str(tmp_path / "one"))) == 1


def test_a_wrong_revision_names_both(tmp_path):
    path = put(tmp_path, a_jsonl=LINE) / "a.jsonl"
    found = hashlib.sha256(LINE.encode()).hexdigest()
    assert catalog(str(path), found) == catalog(str(path), found[:12]) == catalog(str(path))
    with pytest.raises(RequestError, match=f"{found}.*{'0' * 64}"):
        catalog(str(path), "0" * 64)
    with pytest.raises(RequestError):
        catalog(str(path), found[:4])


def test_the_revision_of_a_folder_sees_content_and_names(tmp_path):
    put(tmp_path, a_jsonl=LINE, b_jsonl=LINE * 2)
    before = content_revision(catalog(str(tmp_path)))
    assert catalog(str(tmp_path), before)
    (tmp_path / "a.jsonl").rename(tmp_path / "c.jsonl")
    assert content_revision(catalog(str(tmp_path))) != before


def test_any_filesystem_will_do():
    """Without an etag the content is hashed, wherever it lies."""
    fsspec.filesystem("memory").pipe("/bucket/a.jsonl", LINE.encode())
    (shard,) = catalog("memory://bucket/*.jsonl")
    assert shard == Shard(
        "memory:///bucket/a.jsonl", hashlib.sha256(LINE.encode()).hexdigest(), "jsonl", "a.jsonl"
    )


def test_an_unknown_filesystem_says_how_to_get_it():
    with pytest.raises(RequestError, match="nowhere://x"):
        catalog("nowhere://x/a.jsonl")


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"a\.jsonl"):
        catalog(str(tmp_path / "a.jsonl"))


# The hub itself cannot be reached from a test: what is asked of it can be checked, what it answers cannot.


def test_a_hub_address_carries_its_commit():
    assert hub_uri("hf://datasets/o/n", COMMIT) == f"hf://datasets/o/n@{COMMIT}"
    assert (
        hub_uri(f"hf://datasets/o/n@{COMMIT}/data/*.parquet", None)
        == f"hf://datasets/o/n@{COMMIT}/data/*.parquet"
    )


@pytest.mark.parametrize(
    ("uri", "revision", "words"),
    [
        ("hf://datasets/o/n", "main", "can move"),
        ("hf://datasets/o/n", None, "can move"),
        ("hf://o/n", COMMIT, "names no dataset"),
        ("hf://datasets/o", COMMIT, "names no dataset"),
        (f"hf://datasets/o/n@{COMMIT}", "f" * 40, "disagree"),
    ],
)
def test_a_hub_address_that_is_not_pinned_is_refused(uri, revision, words):
    with pytest.raises(RequestError, match=words):
        hub_uri(uri, revision)


def test_made_rows_are_known_by_procedure_and_options():
    uri = "made://tiny_math?rows=20&seed=1"
    (shard,) = catalog(uri)
    assert (shard.uri, shard.format, shard.name) == (uri, "made", "tiny_math")
    assert shard.fingerprint != catalog("made://tiny_math?rows=20&seed=2")[0].fingerprint
