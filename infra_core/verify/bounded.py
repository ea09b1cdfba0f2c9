"""Judge mathematics in a child process that the kernel stops: some comparisons never end, or eat all memory.

math-verify guards itself by SIGALRM, which only works in a main thread, and which cannot stop a long
operation on big integers at all. Here a child serves one question at a time; each has a time limit after
which the kernel ends the child, and a fresh fork takes its place within milliseconds.
"""

import atexit
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from infra_core.verify.verdict import Verdict

SECONDS = 5  # for one answer
MEMORY_BYTES = 2 << 30

_PACKAGE_ROOT = Path(__file__).parents[2]


class MathsServer:
    """The child, started when first needed and again in a process that was forked from ours.

    Parameters
    ----------
    seconds
        Limit for one answer; whole seconds, as the kernel's alarm counts them.
    """

    def __init__(self, seconds: int = SECONDS) -> None:
        self.seconds = seconds
        self.lock = threading.Lock()
        self.owner = 0
        self.process: subprocess.Popen | None = None

    def running(self) -> subprocess.Popen:
        """Return the child, starting it if need be."""
        if self.process is None or self.owner != os.getpid() or self.process.poll() is not None:
            path = os.pathsep.join([str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra_core.verify.bounded", str(self.seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
            self.owner = os.getpid()
        return self.process

    def ask(self, question: tuple[str, str]) -> Verdict:
        """Have one answer judged; again if the child was killed, in which the answer need have no part."""
        with self.lock:
            line = self._asked(question) or self._asked(question)
        return Verdict(*json.loads(line)) if line else Verdict(False, "comparing was killed twice")

    def _asked(self, question: tuple[str, str]) -> str:
        """Return the child's line; empty if it ended."""
        process = self.running()
        assert process.stdin is not None  # noqa: S101 - we asked for pipes
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            line = ""
        else:
            line = process.stdout.readline()
        if not line.endswith("\n"):
            process.kill()
            process.wait()
            return ""
        return line

    def close(self) -> None:
        """End the child: it stops when nobody can ask any more."""
        if self.process is not None and self.owner == os.getpid():
            self.process.communicate()


_server = MathsServer()
atexit.register(_server.close)


def judge_maths_bounded(items: Sequence[tuple[str, str]]) -> list[Verdict]:
    """Judge pairs of response and answer as `maths.judge_maths` does, each within `SECONDS`, any thread."""
    return [_server.ask(item) for item in items]


def _serve(seconds: int) -> None:
    """Be the child: keep one fork answering, and say so when it was stopped."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    from infra_core.verify.maths import judge_maths

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    judge_maths("The answer is $x^2 + 1$", "$1 + x^2$")  # so that forks find the parser's tables ready
    while True:
        pid = os.fork()
        if pid == 0:
            _answer_all(judge_maths, answers, seconds)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status in {0, -signal.SIGKILL}:  # from outside: without an answer we are asked again
            return
        why = (
            f"not compared within {seconds} s"
            if status == -signal.SIGALRM
            else f"comparing failed ({status})"
        )
        print(json.dumps([False, why]), file=answers, flush=True)


def _answer_all(judge: Callable[[str, str], Verdict], answers: IO[str], seconds: int) -> None:
    """Answer questions until there are no more."""
    # The default action, not a handler: a handler waits for the interpreter, which may be busy for ever.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    questions = os.fdopen(0, "r", closefd=False)
    while line := questions.readline():
        signal.alarm(seconds)
        try:
            verdict = judge(*json.loads(line))
            found = [verdict.correct, verdict.why]
        except Exception as error:  # noqa: BLE001 - an answer that breaks the parser is wrong
            found = [False, f"cannot be compared: {type(error).__name__}"]
        signal.alarm(0)
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
