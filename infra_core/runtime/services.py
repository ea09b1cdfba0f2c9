"""Services of this machine that stay when the command that started them ends: started once, stopped exactly.

A folder remembers them, one file each with process id and the time that the process began: an id that another
process has by now is not ours, and is left alone.
"""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

TAIL_BYTES = 4000
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Services:
    """What runs here on our account.

    Parameters
    ----------
    folder
        Where it is remembered, and where logs are kept.
    """

    folder: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold others off who would start or stop services of this folder; they wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def start(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> bool:
        """Start a service in a session of its own, unless it runs; return whether it was started."""
        if self.running(name):
            return False
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as written:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        began = psutil.Process(process.pid).create_time()
        self._record(name).write_text(json.dumps({"pid": process.pid, "began": began, "argv": list(argv)}))
        return True

    def running(self, name: str) -> psutil.Process | None:
        """Return the service's process, or None if it is not running."""
        try:
            record = json.loads(self._record(name).read_text())
            process = psutil.Process(record["pid"])
            is_ours = abs(process.create_time() - record["began"]) < 1
            return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
            return None

    def stop(self, name: str, grace: float = 20.0) -> bool:
        """End a service and all that it started, asked first, then killed; return whether it ran."""
        process = self.running(name)
        if process is not None:
            family = [process, *_descendants(process)]
            _tell([process], signal.SIGTERM)
            _wait_for_end([process], grace)
            # What it started may have started more, or have been let go by it.
            family += [child for member in family for child in _descendants(member)]
            _tell(family, signal.SIGTERM)
            _wait_for_end(family, grace)
            _tell(family, signal.SIGKILL)
            _wait_for_end(family, grace)
        self._record(name).unlink(missing_ok=True)
        return process is not None

    def log(self, name: str) -> Path:
        """Where a service writes."""
        return self.folder / "log" / f"{name}.log"

    def last_words(self, name: str) -> str:
        """Return the end of what a service wrote."""
        with suppress(FileNotFoundError), self.log(name).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
        return ""

    def _record(self, name: str) -> Path:
        return self.folder / f"{name}.pid"


def processes_with(variable: str) -> dict[str, psutil.Process]:
    """Return the living processes of this user that have an environment variable, by its value.

    Of several with one value, any.
    """
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            value = process.environ().get(variable)
            if value is not None and process.status() != psutil.STATUS_ZOMBIE:
                found[value] = process
    return found


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _tell(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # psutil refuses a process id that another process has by now
            process.send_signal(number)


def _wait_for_end(processes: Sequence[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
