"""The driver that runs *inside* the sandbox: one fresh child per program, a line of JSON per outcome.

Its text is handed to whatever Python the sandbox has (3.9 or later), so it imports nothing of ours and
nothing beyond the standard library. It reads frames (4 bytes of length, then JSON) from descriptor 0: a
header, then programs. It is meant to be process 1 of a PID namespace, which nothing inside can signal.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pathlib
import random
import resource
import select
import shutil
import signal
import sys
import threading
import time
import traceback
import types
import typing

# Imported before forking, so that no child pays for what programs of this kind nearly always want.
PRELOADED = (
    "bisect collections copy datetime decimal fractions functools heapq io itertools math operator queue re "
    "statistics string"
)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
LOOK_SECONDS = 0.05  # how often the processes of a program are counted and weighed
STDERR_TAIL = 2000
PAGE = resource.getpagesize()
libc = ctypes.CDLL(None, use_errno=True)


def frame() -> typing.Any:
    """Return the next JSON value of descriptor 0, or None at its end."""
    # No buffering: what is not read yet is not in the memory that the next child inherits.
    size = os.read(0, 4)
    if len(size) < 4:
        return None
    wanted, data = int.from_bytes(size, "big"), b""
    while len(data) < wanted:  # one read of a file gives at most 2 GiB
        data += os.read(0, wanted - len(data))
    return json.loads(data)


def restrict(limits: dict) -> None:
    """Give the calling child its limits. Hard ones: it has no privilege to raise them."""
    cpu = int(limits["cpu_seconds"])
    for what, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, limits["memory_bytes"], limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"], limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        ceiling = resource.getrlimit(what)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(what, (soft, hard))
    # Recursive solutions raise the recursion limit and then need a stack to match.
    stack, ceiling = min(limits["memory_bytes"] // 4, 128 << 20), resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(
        resource.RLIMIT_STACK,
        (stack if ceiling == resource.RLIM_INFINITY else min(stack, ceiling), ceiling),
    )


def settle(fds: list, header: dict) -> typing.Any:
    """Be the child: take the descriptors as 0, 1, 2 …, take the limits; return standard output."""
    for target, fd in enumerate(fds):
        os.dup2(fd, 100 + target)
    for target in range(len(fds)):
        os.dup2(100 + target, target)
    os.closerange(len(fds), 256)
    os.setsid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.chdir(header["scratch"])
    restrict(header["limits"])
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = os.fdopen(fd, mode, encoding="utf-8", errors="replace")
        setattr(sys, name, stream)
        setattr(sys, "__" + name + "__", stream)
    sys.argv = ["answer.py"]
    random.seed(0)
    return sys.stdout


def play(program: dict, header: dict, fds: list) -> None:
    """Be the child: run the source as `__main__`, never return."""
    code, stdout = 1, sys.stdout
    try:
        stdout = settle(fds, header)
        nonce, main = program["nonce"], types.ModuleType("__main__")

        def report(text: str) -> None:
            data = (nonce + text + "\n").encode()
            while data:
                data = data[os.write(3, data) :]

        main.__dict__.update(report=report)
        sys.modules["__main__"] = main
        compiled = compile(program["source"], "answer.py", "exec")
        header.clear()
        program.clear()
        exec(compiled, main.__dict__)  # noqa: S102 - that is the job
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - whatever the program raises is an outcome
        os.write(2, traceback.format_exc(limit=-3).encode("utf-8", "replace")[-STDERR_TAIL:])
    finally:
        try:
            # What the interpreter does at its end: wait for threads, run exit functions, flush.
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            stdout.flush()
        finally:
            os._exit(code & 255)


def everyone(header: dict) -> set:
    """Return the PIDs of all processes that the program has made, itself included."""
    me, parent_of = os.getpid(), {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it may just have ended
            parent_of[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    if header["pid_namespace"]:
        return set(parent_of) - {me}
    found = {me}
    while more := {pid for pid, parent in parent_of.items() if parent in found} - found:
        found |= more
    return found - {me}


def too_much(header: dict) -> str:
    """Say what the program has too much of, all its processes together, if anything."""
    answers = select.poll()
    answers.register(1, 0)
    if answers.poll(0):  # nobody reads them any more: whoever started us is gone
        return "orphaned"
    resident = count = 0
    for pid in everyone(header):
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
            count += 1
    if resident > header["limits"]["memory_bytes"]:
        return "memory"
    return "processes" if count > header["limits"]["processes"] else ""


class Watch:
    """What is known of one running child: its output so far and why it was stopped."""

    def __init__(self, pid: int, out: int, err: int, result: int, limit: int) -> None:
        self.pid, self.limit, self.stopped = pid, limit, ""
        self.kept = {out: bytearray(), err: bytearray(), result: bytearray()}
        self.open, self.err, self.err_bytes = set(self.kept), err, 0
        for fd in self.open:
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)

    def take(self, fd: int) -> bool:
        """Read what there is; False if there was nothing."""
        try:
            piece = os.read(fd, 65536)
        except BlockingIOError:
            return False
        if not piece:
            self.open.discard(fd)
            return False
        kept = self.kept[fd]
        kept += piece
        if fd == self.err:
            self.err_bytes += len(piece)
            del kept[:-STDERR_TAIL]
        if len(kept) > self.limit or self.err_bytes > self.limit:
            del kept[self.limit :]
            self.stopped = "output"
        return True

    def drain(self) -> None:
        """Read what is left of a child that has ended; others may still hold its pipes open."""
        for fd in list(self.open):
            while not self.stopped and self.take(fd):
                pass


def follow(watch: Watch, header: dict) -> None:
    """Watch a child until it ends or must be stopped."""
    pidfd = os.pidfd_open(watch.pid)
    now = time.monotonic()
    deadline, look = now + header["limits"]["wall_seconds"], now + LOOK_SECONDS
    ended = False
    while not (ended or watch.stopped):
        ready = select.select([*watch.open, pidfd], [], [], max(0.0, min(deadline, look) - now))[0]
        ended = pidfd in ready
        for fd in set(ready) - {pidfd}:
            watch.take(fd)
        now = time.monotonic()
        if now >= deadline and not ended:
            watch.stopped = watch.stopped or "timeout"
        elif now >= look:
            watch.stopped = watch.stopped or too_much(header)
            look = now + LOOK_SECONDS
    os.close(pidfd)


def sweep(pid: int, header: dict) -> int:
    """Kill and reap whatever is left of a program; return how its first process ended."""
    ended = 0
    while True:
        for other in [-1] if header["pid_namespace"] else list(everyone(header)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(other, signal.SIGKILL)
        try:
            reaped, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return ended
        if reaped == pid:
            ended = status


def tidy(scratch: str) -> None:
    """Leave the next program an empty scratch folder."""
    os.chmod(scratch, 0o700)  # noqa: PTH101
    for entry in os.scandir(scratch):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)  # noqa: PTH108


def run(program: dict, header: dict) -> dict:
    """Run one program in a child of its own and say what came of it."""
    tidy(header["scratch"])
    program["nonce"] = nonce = os.urandom(8).hex()
    given = os.memfd_create("stdin")
    with open(given, "wb", closefd=False) as file:
        file.write(program.pop("stdin").encode("utf-8", "surrogatepass"))
    os.lseek(given, 0, os.SEEK_SET)
    (out, out_w), (err, err_w), (result, result_w) = (os.pipe() for _ in range(3))
    pid = os.fork()
    if pid == 0:
        play(program, header, [given, out_w, err_w, result_w])
    for fd in (given, out_w, err_w, result_w):
        os.close(fd)
    watch = Watch(pid, out, err, result, header["limits"]["output_bytes"])
    follow(watch, header)
    watch.drain()
    status = sweep(pid, header)
    if watch.stopped == "orphaned":
        sys.exit(1)
    texts = [bytes(watch.kept[fd]).decode("utf-8", "replace") for fd in (out, err, result)]
    for fd in (out, err, result):
        os.close(fd)
    reports = [line[len(nonce) :] for line in texts[2].splitlines() if line.startswith(nonce)]
    return {
        "stopped": watch.stopped,
        "code": os.waitstatus_to_exitcode(status),
        "stdout": texts[0],
        "stderr": texts[1],
        "report": reports[0] if len(reports) == 1 else None,
    }


def main() -> None:
    """Serve the batch on descriptor 0."""
    header = frame()
    # Not dumpable: no program may trace this process, read its memory or open its descriptors.
    libc.prctl(PR_SET_DUMPABLE, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    if not header["pid_namespace"]:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_inheritable(0, False)
    sys.path[:] = [entry for entry in sys.path if entry]
    if header["nproc"] is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (header["nproc"], header["nproc"]))
    token = header.pop("token")
    for name in PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    compile("", "", "exec")  # makes the syntax tree's types, 3 ms that every child would pay otherwise
    gc.freeze()
    while (program := frame()) is not None:
        line = token + json.dumps(run(program, header)) + "\n"
        data = line.encode("ascii")
        while data:
            data = data[os.write(1, data) :]
    os.write(1, (token + "done\n").encode("ascii"))


if __name__ == "__main__":
    main()
