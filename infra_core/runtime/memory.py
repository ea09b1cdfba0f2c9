"""How much memory a piece of work takes."""

import ctypes
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """How far resident memory rose above where it stood at the start.

    Attributes
    ----------
    above
        Bytes; set when the work is done.
    """

    above: int = 0


@contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure the peak of what happens inside, above the model and the imports that are there already.

    Raises
    ------
    OSError
        If the system does not keep a high-water mark that can be reset: it is not Linux.
    """
    gc.collect()
    give_back()  # else what was used and freed before would be used again unseen
    CLEAR_REFS.write_text("5")  # the high-water mark falls to what is resident now
    before, found = _resident("VmRSS"), PeakMemory()
    yield found
    found.above = _resident("VmHWM") - before


def give_back() -> None:
    """Give freed memory back to the system.

    The allocator of C keeps what was freed in pieces, and large requests that follow do not come out of it.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _resident(field: str) -> int:
    """Return a field of this process' memory in bytes.

    Raises
    ------
    OSError
        If the system does not tell it.
    """
    found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(found[1]) * 1024
