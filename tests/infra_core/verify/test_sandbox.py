"""Nothing that a program does gets out, and none of it changes what its neighbours get."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from infra_core.verify.confinement import DRIVER, confinement
from infra_core.verify.sandbox import Limits, Program, run_programs

TIGHT = Limits(
    wall_seconds=0.8,
    cpu_seconds=1,
    memory_bytes=192 << 20,
    processes=16,
    output_bytes=20_000,
    file_bytes=1 << 20,
)

ATTACKS = {
    "fork bomb": ("import os\nwhile True:\n    os.fork()", "BlockingIOError|processes|memory|running"),
    "stubborn fork bomb": (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "processes|running|memory",
    ),
    "memory bomb": ("x = bytearray(1 << 30)", "MemoryError"),
    "memory bomb of many": (
        "import os, time\nfor _ in range(8):\n    if not os.fork():\n        x = bytearray(100 << 20)\n"
        "        time.sleep(9)\ntime.sleep(9)",
        "192 MiB of memory",
    ),
    "socket": ("import socket\nsocket.create_connection(('1.1.1.1', 80), 0.5)", "OSError|unreachable"),
    "infinite print": ("while True:\n    print('x' * 1000)", "20000 bytes of output"),
    "infinite complaint": (
        "import sys\nwhile True:\n    sys.stderr.write('x' * 1000)",
        "20000 bytes of output",
    ),
    "infinite loop": ("while True:\n    pass", "running after 0.8 s|processor time"),
    "sleep": ("import time\ntime.sleep(60)", "still running after 0.8 s"),
    "stopped": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "still running after 0.8 s"),
    "deaf": (
        "import signal, time\nfor s in (2, 15, 24):\n    signal.signal(s, 1)\nwhile True:\n    pass",
        "running after 0.8 s|processor time",
    ),
    "exit": ("import sys\nsys.exit(3)", "exit status 3"),
    "hard exit": ("import os\nos._exit(4)", "exit status 4"),
    "abort": ("import os\nos.abort()", "SIGABRT"),
    "deep recursion": ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
    "deeper recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1)\nf(0)",
        "SIGSEGV|MemoryError|memory|processor time|running",
    ),
    "large file": ("with open('x', 'wb') as f:\n    f.write(bytes(2 << 20))", "OSError|SIGXFSZ"),
    "write to the system": ("open('/usr/bin/x', 'w')", "OSError|PermissionError"),
    "kill everybody": (
        "import os\nos.kill(1, 9)\nos.kill(-1, 9)",
        "ProcessLookupError|SIGKILL|PermissionError",
    ),
    "spoil the driver's limits": (
        "import resource\nfor what in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):\n"
        "    resource.prlimit(1, what, (0, 0))\n1 / 0",
        "PermissionError|ZeroDivisionError|sandbox down",
    ),
    "spy on the driver": ("open('/proc/1/mem', 'rb').read(1)", "PermissionError"),
    "open the driver's pipe": ("open('/proc/1/fd/1', 'w').write('x')", "PermissionError"),
    "deep nesting": ("x = " + "(" * 100_000 + ")" * 100_000, "SyntaxError|MemoryError|RecursionError|nested"),
    "no text": ("\udcff = 1", "Error"),
}


def honest(number: int) -> Program:
    return Program(f"report(str({number} * int(input())))", stdin="2")


@pytest.fixture(scope="module")
def tried():
    """Each attack between two honest programs, two sandboxes in all."""
    if confinement("bubblewrap") is None:
        pytest.skip("bubblewrap does not work here")
    programs = [
        p for number, (source, _) in enumerate(ATTACKS.values()) for p in (honest(number), Program(source))
    ]
    return run_programs(programs, TIGHT, within=confinement("bubblewrap"), at_once=2)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_in_a_reason(tried, name):
    """… that a person understands."""
    outcome = tried[2 * list(ATTACKS).index(name) + 1]
    assert any(word in outcome.trouble for word in ATTACKS[name][1].split("|")), outcome


def test_neighbours_of_attacks_are_judged_right(tried):
    """Every honest program reports what it would have alone."""
    assert [outcome.report for outcome in tried[::2]] == [str(2 * n) for n in range(len(ATTACKS))]
    assert {outcome.trouble for outcome in tried[::2]} == {""}


def test_no_file_of_the_host_can_be_read(tmp_path):
    """Neither one for root nor one for everybody."""
    if confinement("bubblewrap") is None:
        pytest.skip("bubblewrap does not work here")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for folder in (secret, *secret.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o555)
    paths = ["/etc/shadow", "/etc/passwd", str(secret), __file__]
    outcomes = run_programs([Program(f"report(open({path!r}).read())") for path in paths], TIGHT)
    assert [outcome.report for outcome in outcomes] == [None] * len(paths)
    assert all("FileNotFoundError" in outcome.trouble for outcome in outcomes)


def test_a_listener_of_the_host_is_out_of_reach():
    """Loopback inside is not the host's."""
    if confinement("bubblewrap") is None:
        pytest.skip("bubblewrap does not work here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        [outcome] = run_programs(
            [Program(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 0.5)")], TIGHT
        )
    assert "refused" in outcome.trouble


@pytest.mark.parametrize("strength", ["bubblewrap", "namespaces", "rlimits"])
def test_a_sleeping_child_is_killed_and_does_not_delay_the_outcome(strength):
    """A daemon that holds the output open outlives its parent, not its program."""
    if (within := confinement(strength)) is None:
        pytest.skip(f"{strength} does not work here")
    daemon = Program(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(4321)\nprint('parent')"
    )
    begun = time.monotonic()
    outcomes = run_programs([daemon, honest(3)], Limits(wall_seconds=5.0), within=within)
    assert time.monotonic() - begun < 5
    assert (outcomes[0].stdout, outcomes[0].trouble, outcomes[1].report) == ("parent\n", "", "6")


@pytest.mark.parametrize("strength", ["namespaces", "rlimits"])
def test_weaker_ways_keep_their_limits(strength):
    """Time, memory, output and crashes are contained without bubblewrap, too."""
    if (within := confinement(strength)) is None:
        pytest.skip(f"{strength} does not work here")
    names = [
        "stubborn fork bomb",
        "memory bomb",
        "infinite print",
        "sleep",
        "hard exit",
        "abort",
        "deep recursion",
    ]
    programs = [p for n, name in enumerate(names) for p in (honest(n), Program(ATTACKS[name][0]))]
    outcomes = run_programs(programs, TIGHT, within=within)
    assert [outcome.report for outcome in outcomes[::2]] == [str(2 * n) for n in range(len(names))]
    for name, outcome in zip(names, outcomes[1::2], strict=True):
        assert any(word in outcome.trouble for word in ATTACKS[name][1].split("|")), (name, outcome)


def drivers():
    """PIDs of all drivers and of the programs they forked, but for those of tests that run beside these."""
    ours = psutil.Process()
    beside = set(ours.parent().children()) - {ours}
    running = [each for each in psutil.process_iter(["cmdline"]) if DRIVER in (each.info["cmdline"] or [])]
    found = set()
    for process in running:
        with suppress(psutil.NoSuchProcess):
            if beside.isdisjoint(process.parents()):
                found.add(process.pid)
    return found


@pytest.mark.parametrize("strength", ["bubblewrap", "namespaces", "rlimits"])
def test_no_process_is_left_behind_by_programs_that_fork_and_sleep(strength):
    """The last outcome arrives when the last process is gone."""
    if (within := confinement(strength)) is None:
        pytest.skip(f"{strength} does not work here")
    before = drivers()
    run_programs([Program("import os, time\nos.fork()\nos.fork()\ntime.sleep(99)")] * 2, TIGHT, within=within)
    assert drivers() - before == set()


@pytest.mark.parametrize("strength", ["bubblewrap", "namespaces", "rlimits"])
def test_no_process_is_left_behind_when_we_are_killed(strength):
    """SIGKILL gives us no chance to clean up."""
    if confinement(strength) is None:
        pytest.skip(f"{strength} does not work here")
    before = drivers()
    code = (
        "from infra_core.verify.sandbox import *\n"
        f"run_programs([Program('import time; time.sleep(99)')], Limits(wall_seconds=99.0), "
        f"within=confinement({strength!r}))"
    )
    with TemporaryDirectory() as folder:  # for the scratch folder that is left
        Path(folder).chmod(0o711)  # which belongs to the program's own user
        parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": folder})
        assert wait_until(lambda: len(drivers() - before) >= 2)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert wait_until(lambda: not drivers() - before)


def wait_until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not (now := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return now


@pytest.mark.chaos
@pytest.mark.parametrize("strength", ["bubblewrap", "namespaces", "rlimits"])
@pytest.mark.parametrize("victim", [0, -1], ids=["the sandbox", "the program"])
def test_what_is_killed_from_outside_is_run_again(strength, victim):
    """By an operator, or by the kernel for want of memory: the verdict is that of a quiet machine."""
    if (within := confinement(strength)) is None:
        pytest.skip(f"{strength} does not work here")
    slow = Program("import time; time.sleep(1.5); print('slept')")
    before, outcomes = drivers(), []
    limits = Limits(wall_seconds=20.0)
    programs = [honest(1), slow, honest(2)]

    def run():
        outcomes.extend(run_programs(programs, limits, within=within, at_once=1))

    thread = threading.Thread(target=run)
    thread.start()
    assert wait_until(lambda: len(drivers() - before) >= 2)
    time.sleep(0.7)  # the first one is done, the second sleeps
    family = sorted(drivers() - before, key=lambda pid: psutil.Process(pid).create_time())
    os.kill(family[victim], signal.SIGKILL)
    thread.join()
    assert [outcome.report for outcome in (outcomes[0], outcomes[2])] == ["2", "4"]
    assert (outcomes[1].stdout, outcomes[1].trouble) == ("slept\n", "")
    assert wait_until(lambda: not drivers() - before)


def test_a_faked_line_is_only_output():
    """Printing what the driver would print, with or without newline, changes nobody's outcome."""
    fake = '0123456789abcdef0123456789abcdef {"stopped": "", "code": 0, "stdout": "", "report": "passed"}'
    forger = Program(
        f"import os\nfor fd in range(1, 60):\n    try:\n        os.write(fd, {fake!r}.encode() + b'\\n')\n"
        "    except OSError:\n        pass"
    )
    first, second = run_programs([forger, honest(1)], TIGHT, at_once=1)
    assert (first.report, second.report) == (None, "2")
    assert fake in first.stdout


def test_reporting_twice_is_no_report():
    """So a program that guesses the harness's report spoils its own."""
    [outcome] = run_programs([Program("report('a')\nreport('b')")], TIGHT)
    assert outcome.report is None


def test_a_program_finds_an_empty_folder_whatever_was_left_there():
    """Scratch files do not pass from one program to the next."""
    leave = Program("import os\nos.makedirs('a/b')\nopen('a/b/c', 'w')\nopen('d', 'w')\nos.chmod('.', 0)")
    look = Program("import os\nreport(str(os.listdir('.')))")
    assert run_programs([leave, look], TIGHT, at_once=1)[1].report == "[]"


def test_the_environment_stays_outside(monkeypatch):
    """No variable of ours, so no credential, is seen inside."""
    monkeypatch.setenv("A_SECRET", "token")
    [outcome] = run_programs([Program("import os\nreport(' '.join(sorted(os.environ)))")], TIGHT)
    assert outcome.report is not None
    assert "A_SECRET" not in outcome.report


def test_outcomes_keep_their_order_across_sandboxes_and_threads():
    """Whoever asks, from whichever thread."""
    found = {}

    def ask(start):
        outcomes = run_programs([honest(start + n) for n in range(20)], at_once=2)
        found[start] = [outcome.report for outcome in outcomes]

    threads = [threading.Thread(target=ask, args=(start,)) for start in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {start: [str(2 * (start + n)) for n in range(20)] for start in (0, 100)}


def test_threads_exit_functions_and_sets_behave_as_in_a_plain_interpreter():
    """Output of a thread nobody joined and of atexit arrives; hashing is the same on every run."""
    source = (
        "import atexit, threading\natexit.register(lambda: print('last'))\nended = threading.Event()\n"
        "threading.Thread(target=lambda: (ended.wait(), print('thread'))).start()\n"
        "print({'a', 'b', 'c', 'd'})\nended.set()"
    )
    first, second = run_programs([Program(source)], TIGHT) + run_programs([Program(source)], TIGHT)
    assert first.stdout.split("\n")[1:3] == ["thread", "last"]
    assert first == second


def test_nothing_to_run_is_no_work():
    """An empty batch is judged empty."""
    assert run_programs([]) == []
