"""Which files of a folder hold rows: folders of files, and the two layouts that `datasets` writes."""

import json
import posixpath
import re

import fsspec

from infra_core.errors import DataError
from infra_core.sources.formats import format_of

BOOKKEEPING = {"dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json"}
SPLIT = re.compile(r"(?:^|[/_-])(train|test|validation|valid|val|dev|eval)(?=[-_./]|$)")


def data_files(filesystem: fsspec.AbstractFileSystem, folder: str, uri: str) -> list[tuple[str, str, str]]:
    """Return (path, name, format) of every data file of a folder, sorted by path.

    Raises
    ------
    DataError
        If it holds no data, several formats or several splits: reading a test split by accident
        would put the exam into the corpus.
    """
    if filesystem.isfile(f"{folder}/dataset_dict.json"):
        splits = json.loads(filesystem.cat_file(f"{folder}/dataset_dict.json"))["splits"]
        if len(splits) > 1:
            raise DataError(
                f"folder {uri} holds the splits {splits}; name one, as in {uri.rstrip('/')}/{splits[0]}"
            )
        folder = f"{folder}/{splits[0]}"
    if filesystem.isfile(f"{folder}/state.json"):
        listed = json.loads(filesystem.cat_file(f"{folder}/state.json")).get("_data_files", [])
        names = [entry["filename"] for entry in listed]  # others are leftovers of an earlier save
        return [(f"{folder}/{name}", name, "arrow") for name in sorted(names)]
    return _plain(filesystem, folder, uri)


def _plain(filesystem: fsspec.AbstractFileSystem, folder: str, uri: str) -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(filesystem.find(folder)):
        name = posixpath.relpath(path, folder)
        hidden = any(piece.startswith((".", "_")) for piece in name.split("/"))
        kind = format_of(path)
        if kind and not hidden and posixpath.basename(path) not in BOOKKEEPING:
            found.append((path, name, kind))
    if not found:
        raise DataError(
            f"folder {uri} holds no data file (.jsonl, .json, .csv, .parquet, .arrow); correct the address"
        )
    kinds = sorted({kind for _, _, kind in found})
    if len(kinds) > 1:
        raise DataError(
            f"folder {uri} holds files of several formats {kinds}; say which by a glob, as in {uri}/*.jsonl"
        )
    splits = sorted({split for _, name, _ in found for split in SPLIT.findall(name)})
    if len(splits) > 1:
        raise DataError(
            f"folder {uri} holds the splits {splits}; say which by a glob, as in {uri}/**/{splits[0]}-*"
        )
    return found
