"""No answer keeps the judge busy for ever, and none keeps it from judging the next."""

import subprocess
import sys
import threading
import time

import psutil
import pytest

from infra_core.verify.bounded import MathsServer, judge_maths_bounded

ENDLESS = (r"\boxed{9^{9^{9^{9}}}}", "7")


def test_an_endless_comparison_is_stopped_and_the_next_goes_on():
    """Neither is a signal handler of ours needed, nor a main thread."""
    server, found = MathsServer(seconds=1), []
    asked = [("#### 1", "1"), ENDLESS, ("#### 2", "3")]
    thread = threading.Thread(target=lambda: found.extend(map(server.ask, asked)))
    thread.start()
    thread.join()
    server.close()
    assert [verdict.correct for verdict in found] == [True, False, False]
    assert found[1].why == "not compared within 1 s"
    assert found[2].why == "got 2, expected 3"


@pytest.mark.chaos
@pytest.mark.parametrize("victim", ["the child", "its fork"])
def test_a_judge_that_is_killed_from_outside_judges_again(victim):
    """While it is at an answer that takes it a second to give up."""
    server, found = MathsServer(seconds=1), []
    assert server.ask(("#### 1", "1")).correct
    child = psutil.Process(server.process.pid)
    [fork] = child.children()
    thread = threading.Thread(target=lambda: found.extend(map(server.ask, [ENDLESS, ("#### 2", "2")])))
    thread.start()
    time.sleep(0.3)
    (child if victim == "the child" else fork).kill()
    thread.join()
    server.close()
    assert [(verdict.correct, verdict.why[:12]) for verdict in found] == [
        (False, "not compared"),
        (True, found[1].why[:12]),
    ]
    assert not fork.is_running() or fork.status() == psutil.STATUS_ZOMBIE


def test_odd_text_is_judged_like_any_other():
    """Newlines, lone surrogates and megabytes pass through the pipe."""
    texts = ["a\nb\n#### 4", "\udcff\n#### 4", "x " * 500_000 + "\n#### 4"]
    verdicts = judge_maths_bounded([(text, "4") for text in texts])
    assert [verdict.correct for verdict in verdicts] == [True, True, True]


def test_a_program_that_judged_ends_promptly():
    """The child does not keep its parent."""
    code = (
        "from infra_core.verify.bounded import judge_maths_bounded as j\n"
        "print(j([('#### 1', '1')])[0].correct)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
