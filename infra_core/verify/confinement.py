"""How code nobody here wrote is shut in: the strongest way that this machine allows, found by trying."""

import contextlib
import functools
import itertools
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from infra_core.errors import RequestError

Strength = Literal["bubblewrap", "namespaces", "rlimits"]

DRIVER = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
SCRATCH = "/tmp"  # noqa: S108 - inside a sandbox, where it is an empty folder in memory
SCRATCH_BYTES = 64 << 20
PROBE_SECONDS = 20
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": SCRATCH,
    # A program that prints a set must not be right on one day and wrong on the next.
    "PYTHONHASHSEED": "0",
}

_log = logging.getLogger(__name__)
# The range that systemd gives to transient services, so no account of this machine. One fixed uid would
# make sandboxes share one process limit, and forks then fail for no fault of the program.
_uids = itertools.cycle(range(61184 + secrets.randbelow(4000), 65520))


@dataclass(frozen=True)
class Limits:
    """What one program may use, all its processes together where the kernel can add them up.

    Attributes
    ----------
    wall_seconds, cpu_seconds
        Time on the clock; time on a processor, per process.
    memory_bytes
        Address space per process, and resident memory of all processes.
    processes
        Processes and threads alive at once.
    output_bytes
        Standard output; what is beyond ends the program.
    file_bytes
        Size of any one file it writes (to a scratch folder that is gone afterwards).
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 10
    memory_bytes: int = 512 << 20
    processes: int = 32
    output_bytes: int = 1 << 20
    file_bytes: int = 16 << 20


@dataclass(frozen=True)
class Program:
    """A Python program and what it finds on standard input; inside, `report(text)` hands text back."""

    source: str
    stdin: str = ""


@dataclass(frozen=True)
class Confinement:
    """One way to shut code in.

    Attributes
    ----------
    strength
        `bubblewrap`: no network, no host file but /usr, own process and user ids. `namespaces`: no network
        and own process ids, but files that everybody may read can be read. `rlimits`: only limits on time,
        memory, processes and output, and, when started by root, a user id that nobody else has.
    python
        The interpreter inside.
    """

    strength: Strength
    python: str

    @property
    def pid_namespace(self) -> bool:
        """Whether the driver is process 1 of its own PID namespace."""
        return self.strength != "rlimits"

    def argv(self, uid: int | None) -> list[str]:
        """Return the command that starts the driver, as user `uid` where one is given."""
        drop = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        driver = [self.python, "-s", "-c", DRIVER]
        match self.strength:
            case "bubblewrap":
                return [*drop, *_bubblewrap(self.python), *driver]
            case "namespaces":
                # Root of its own user namespace, as mounting /proc wants; `setpriv` then takes that away.
                return [*drop, *_UNSHARE, "setpriv", "--bounding-set=-all", "--inh-caps=-all", *driver]
            case "rlimits":
                return [*drop, *driver]


_UNSHARE = [
    "unshare",
    "--user",
    "--map-root-user",
    *("--net", "--ipc", "--uts", "--mount"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
]


@functools.cache
def strongest() -> Confinement:
    """Return the strongest confinement that works here; warn once if that is not bubblewrap.

    Raises
    ------
    RequestError
        If no Python can be started in any of them.
    """
    if (found := confinement("bubblewrap")) is not None:
        return found
    for strength, more in (
        ("namespaces", ""),
        ("rlimits", ", use the network and signal processes of its user"),
    ):
        if (found := confinement(strength)) is not None:
            _log.warning(
                "Code is judged in a weaker sandbox (%s), because bubblewrap is missing or may not make "
                "namespaces here: a program may read files that everybody may read%s. Install bubblewrap, or "
                "use a machine that allows user namespaces.",
                strength,
                more,
            )
            return found
    raise RequestError(
        f"No Python could be started to judge code: tried {', '.join(_pythons())}. Install Python 3.9 or "
        "later as /usr/bin/python3."
    )


@functools.cache
def confinement(strength: Strength) -> Confinement | None:
    """Return the confinement of that strength, or None where it does not work."""
    candidates = (Confinement(strength, python) for python in _pythons())
    return next((candidate for candidate in candidates if _works(candidate)), None)


@contextlib.contextmanager
def start(
    within: Confinement, programs: Iterable[Program], limits: Limits
) -> Iterator[tuple[subprocess.Popen, str]]:
    """Start a driver on a batch; yield it and the token that its lines begin with. Leaving kills it."""
    token = secrets.token_hex(16) + " "
    uid = next(_uids) if os.geteuid() == 0 and shutil.which("setpriv") else None
    with tempfile.TemporaryFile() as batch, tempfile.TemporaryDirectory(prefix="infra-") as folder:
        inside_scratch = SCRATCH if within.strength == "bubblewrap" else folder
        if uid is not None:
            os.chown(folder, uid, uid)
        header = {
            "token": token,
            "limits": asdict(limits),
            "pid_namespace": within.pid_namespace,
            "scratch": inside_scratch,
            "nproc": limits.processes + 1 + (0 if uid is not None else _tasks_of_this_user()),
        }
        for value in (header, *map(asdict, programs)):
            data = json.dumps(value).encode("ascii")
            batch.write(len(data).to_bytes(4, "big") + data)
        batch.seek(0)
        process = subprocess.Popen(
            within.argv(uid),
            stdin=batch,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd=folder,
            start_new_session=True,
        )
        try:
            yield process, token
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _works(candidate: Confinement) -> bool:
    """Try it on a trivial program: containers often have bwrap but forbid what it needs."""
    try:
        with start(candidate, [Program("report('fine')")], Limits()) as (process, token):
            said, _ = process.communicate(timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    lines = said.decode("ascii", "replace").splitlines()
    return len(lines) == 2 and lines[1] == token + "done" and '"report": "fine"' in lines[0]


def _pythons() -> list[str]:
    """Return the interpreters to try; the system's is the one that a foreign user can surely read."""
    base = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    return [python for python in ("/usr/bin/python3", base) if Path(python).exists()]


def _tasks_of_this_user() -> int:
    """Return how many processes and threads this user has: the kernel's limit may count them all."""
    count = 0
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and process.stat().st_uid == os.geteuid():
                count += sum(1 for _ in (process / "task").iterdir())
    return count


@functools.cache
def _bubblewrap(python: str) -> list[str]:
    """Return bwrap and its options: nothing of the host but /usr and the interpreter, both read-only."""
    asked = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False)  # noqa: S607
    known = asked.stdout + asked.stderr
    # As process 1, the driver is out of reach of every signal from inside.
    options = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1"]
    if "--disable-userns" in known:
        options += ["--unshare-user", "--disable-userns"]
    options += ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if (path := Path(name)).is_symlink():
            options += ["--symlink", str(path.readlink()), name]
        elif path.exists():
            options += ["--ro-bind", name, name]
    if not python.startswith("/usr/"):
        options += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    options += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    options += ["--size", str(SCRATCH_BYTES)] if "--size" in known else []
    return [*options, "--tmpfs", SCRATCH, "--remount-ro", "/", "--chdir", SCRATCH]
