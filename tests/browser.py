"""A page as a person sees it: headless Chromium, where one is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Seen:
    """An open page, and everything it complained of or asked the world for."""

    page: object
    trouble: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(place: Path | str, **context: object) -> Iterator[Seen]:
    """Open a file or an address in a browser of its own; skips where there is none."""
    programs = filter(None, map(shutil.which, NAMES))
    program = next(programs, None) or pytest.skip("no Chromium on this machine")

    def met(dialog) -> None:
        seen.trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()  # or the page waits for ever

    driver = pytest.importorskip("playwright.sync_api")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_context(**context).new_page()
        seen = Seen(page)
        page.on("console", lambda message: seen.trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.trouble.append(str(error)))
        page.on("dialog", met)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(place.as_uri() if isinstance(place, Path) else place)
        yield seen
        browser.close()
