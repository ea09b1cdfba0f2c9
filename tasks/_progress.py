"""Progress of long work: a bar in a terminal, a line now and then in a log, an artifact in the Prefect UI."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

QUIET_SECONDS = 10.0  # shorter work needs no progress
UPDATE_SECONDS = 5.0  # an artifact update is a request to the server


class _Reporter:
    """Tells the log and the Prefect UI how far the work is, at most every few seconds."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, max(total, 1)
        self.artifact: UUID | None = None
        self.is_shown = True
        self.start = self.last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        finished = done >= self.total and self.artifact is not None
        if now - self.start < QUIET_SECONDS or (now - self.last < UPDATE_SECONDS and not finished):
            return
        self.last = now
        percent = min(100.0, 100.0 * done / self.total)
        left = (now - self.start) * (self.total - done) / max(done, 1)
        logger.info("%s: %d of %d, about %.0f s left", self.title, done, self.total, max(left, 0.0))
        if TaskRunContext.get() is None or not self.is_shown:
            return
        try:
            self._show(percent)
        except httpx.HTTPError as error:  # whoever watches the work must not stop it
            logger.warning("%s: the server takes no progress, so it is told no more (%s)", self.title, error)
            self.is_shown = False

    def _show(self, percent: float) -> None:
        if self.artifact is None:
            created = create_progress_artifact(progress=percent, description=self.title)
            self.artifact = created if isinstance(created, UUID) else None
        else:
            update_progress_artifact(artifact_id=self.artifact, progress=percent)


@contextmanager
def progress(title: str, total: int = 1) -> Iterator[Callable[..., None]]:
    """Yield `update(done, total=None)` for work in units: tokens, rows, optimiser steps."""
    report = _Reporter(title, total)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task(title, total=total)

        def update(done: int, total: int | None = None) -> None:
            report.total = total or report.total
            bars.update(bar, completed=done, total=report.total)
            report(done)

        yield update
