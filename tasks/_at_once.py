"""Several parts at a time, on all cores: for work that polars and tokenizers do outside of Python's lock."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

CORES = os.cpu_count() or 1
Part = TypeVar("Part")
Result = TypeVar("Result")


def several_at_once(work: Callable[[Part], Result], parts: Iterator[Part]) -> Iterator[Result]:
    """Yield what `work` makes of each part, in order; of parts no more are held than there are cores."""
    with ThreadPoolExecutor(CORES) as workers:
        while several := list(islice(parts, CORES)):
            yield from workers.map(work, several)
