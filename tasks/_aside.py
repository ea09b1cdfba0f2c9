"""Tensors that wait on this machine's disk until they are needed, so that memory need not hold them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from safetensors.torch import load_file, save_file
from torch import Tensor

from infra_core.influence.kept import PutAside

USABLE = 0.8  # of what is free on the disk


class Brought(Mapping[str, Tensor]):
    """Tensors by name, each brought back when it is asked for and not held on to.

    Parameters
    ----------
    bring
        By name, what brings it back.
    """

    def __init__(self, bring: Mapping[str, Callable[[], Tensor]]) -> None:
        self._bring = dict(bring)

    def __getitem__(self, name: str) -> Tensor:
        """Bring a tensor back."""
        return self._bring[name]()

    def __iter__(self) -> Iterator[str]:
        """Name them in order."""
        return iter(self._bring)

    def __len__(self) -> int:
        """Count them."""
        return len(self._bring)


@contextmanager
def aside() -> Iterator[tuple[PutAside, int]]:
    """Give what puts tensors on the disk that temporary files are on, and how many bytes it may take there.

    They are gone when the context is left; those that come back lie in the processor's memory.
    """
    with tempfile.TemporaryDirectory(prefix="infra-") as folder:

        def put(tensor: Tensor) -> Callable[[], Tensor]:
            path = Path(folder, f"{uuid4().hex}.safetensors")
            save_file({"": tensor.detach().cpu().contiguous()}, path)
            return lambda: load_file(path)[""]

        yield put, int(USABLE * shutil.disk_usage(folder).free)
