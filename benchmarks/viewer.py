"""How long a report on disk takes to be seen, and for how long its viewer answers nobody, in a browser."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
WATCH = """() => {
  window.tasks = [];
  new PerformanceObserver((found) => tasks.push(...found.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask", buffered: true });
}"""
"""Notes what keeps the page from answering for 50 ms or longer, also while it loaded."""
TAKE = "tasks.splice(0).reduce((most, one) => Math.max(most, one), 0)"
PATIENCE = 300_000  # milliseconds, for a machine that has other work too
SCROLLS = 50
OPENED = 20


class Done(NamedTuple):
    """What was done: seconds until it showed, and the longest stretch in which nothing else could be done."""

    what: str
    seconds: float
    longest: float


def look(report: Path) -> tuple[float, list[Done]] | None:
    """Return seconds to the first paint of a report, and what its viewer took; None without a browser."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        return None
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        began = time.monotonic()
        page.goto(report.as_uri())
        page.wait_for_selector(".token")
        seconds = time.monotonic() - began
        painted = page.evaluate(PAINTED) / 1e3
        page.evaluate(WATCH)
        page.wait_for_timeout(200)
        done = [Done("open, until a trace shows", seconds, page.evaluate(TAKE) / 1e3), *_used(page)]
        browser.close()
    return painted, done


def _used(page: Page) -> Iterator[Done]:
    for what, act in (
        ("scroll through the list", _scroll),
        (f"open the next {OPENED}", _step),
        ("switch the queries", lambda page: page.keyboard.press("g")),
        ("sort by length", lambda page: page.select_option("#trace-sort", "longest")),
        ("colour spans", lambda page: page.keyboard.press("t")),
        ("search all texts", _search),
        ("search them again", _search_again),
    ):
        yield _timed(page, what, act)


def _timed(page: Page, what: str, act: Callable[[Page], object]) -> Done:
    page.focus("#trace-list")
    began = time.monotonic()
    act(page)
    page.evaluate("new Promise((seen) => requestAnimationFrame(() => setTimeout(seen)))")  # until it shows
    seconds = time.monotonic() - began
    page.wait_for_timeout(100)  # long tasks are told late
    return Done(what, seconds, page.evaluate(TAKE) / 1e3)


def _scroll(page: Page) -> None:
    for step in range(1, SCROLLS + 1):
        page.evaluate(
            "share => { const list = document.getElementById('trace-list');"
            " list.scrollTop = share * list.scrollHeight; }",
            step / SCROLLS,
        )


def _step(page: Page) -> None:
    for _ in range(OPENED):
        page.keyboard.press("j")


def _search(page: Page) -> None:
    _sought(page, "1234")


def _search_again(page: Page) -> None:
    _sought(page, "alternatively 77")


def _sought(page: Page, words: str) -> None:
    before = page.text_content("#trace-status")
    page.fill("#trace-search", words)
    # The page lets nobody evaluate, and so nobody wait for an expression.
    while (told := page.text_content("#trace-status")) == before or "shown here" not in str(told):
        page.wait_for_timeout(10)
