"""Whole folders: what a stage saves on its way, e.g. a checkpoint in the middle of training.

A saved state is its files, then ``<state>.done`` that lists them with their sha256. Only the newest is kept.
"""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra_core.store.artifact import check_name
from infra_core.store.files import Files, digest_file

logger = logging.getLogger(__name__)

DONE = ".done"
SENDERS = 4  # threads that send the files of a folder; on S3 each sends the pieces of a large one at once


def folder_files(local: Path) -> dict[str, Path]:
    """Every file below a local folder by its name relative to it, sorted.

    Raises
    ------
    ValueError
        If `local` is no folder, or a file's name cannot be a part's.
    """
    if not local.is_dir():
        raise ValueError(f"{local} is not a folder")
    found = {path.relative_to(local).as_posix(): path for path in local.rglob("*") if path.is_file()}
    for name in found:
        check_name(name)
    return dict(sorted(found.items()))


def save_state(files: Files, base: str, name: str, local: Path) -> None:
    """Save the folder `local` under `base` as the newest state, then remove the older ones."""
    check_name(name)
    before = {_state_of(path) for path in files.sizes(base)}
    order = 1 + max((int(state.split("-", 1)[0]) for state in before), default=0)
    state = f"{order:06d}-{name.replace('/', '_')}"
    found = folder_files(local)

    def send(file: str) -> tuple[str, dict[str, object]]:
        sha256, size = digest_file(found[file])
        files.put(f"{base}/{state}/{file}", found[file])
        return file, {"sha256": sha256, "bytes": size}

    with ThreadPoolExecutor(SENDERS) as pool:
        listed = dict(pool.map(send, found))
    record = {"name": name, "files": listed}
    files.put_bytes(f"{base}/{state}{DONE}", json.dumps(record, indent=2, sort_keys=True).encode())
    for old in sorted(before):
        files.remove_file(f"{base}/{old}{DONE}")
        files.remove(f"{base}/{old}")


def latest_state(files: Files, base: str, scratch: Path) -> tuple[str, Path] | None:
    """The name of the newest whole state and a local folder with its verified files, if there is one.

    A state that is not what its record says is passed over with a warning: work is lost then, not results.
    """
    done = [path for path in files.sizes(base) if path.endswith(DONE) and "/" not in path]
    for path in sorted(done, reverse=True):
        state = path.removesuffix(DONE)
        folder = Path(files.path(f"{base}/{state}")) if files.is_local else scratch / state
        name = _restore(files, f"{base}/{state}", folder)
        if name is not None:
            return name, folder
        logger.warning("the saved state %s/%s/%s is damaged; going on without it", files.url, base, state)
    return None


def _restore(files: Files, state: str, folder: Path) -> str | None:
    """Have the state's files in `folder`; its name, or None if anything is not as recorded."""
    try:
        record = json.loads(files.read(state + DONE))
        for file, listed in record["files"].items():
            check_name(file)
            local = folder / file
            if not files.is_local:
                local.parent.mkdir(parents=True, exist_ok=True)
                files.download(f"{state}/{file}", local)
            if digest_file(local) != (listed["sha256"], listed["bytes"]):
                return None
        return str(record["name"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _state_of(path: str) -> str:
    return path.split("/", 1)[0].removesuffix(DONE)
