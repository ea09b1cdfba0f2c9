"""Tensors that wait on this machine's disk until they are needed, so that memory need not hold them."""

import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

USABLE = 0.8  # of what is free on the disk
SUFFIX = ".safetensors"


class Aside(MutableMapping[str, Tensor]):
    """Tensors by name in a folder, which several processes may share; none is held on to.

    They come back in the processor's memory. Those that were put there through this object come first, in
    that order.

    Parameters
    ----------
    folder
        That exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._order: dict[str, None] = {}

    def __getitem__(self, name: str) -> Tensor:
        """Bring a tensor back.

        Raises
        ------
        KeyError
            If it is not there.
        """
        if name not in self:
            raise KeyError(name)
        return load_file(self._path(name))[""]

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        """Put a tensor there; whoever looks sees all of it or nothing."""
        growing = self.folder / f".{name}"
        save_file({"": tensor.detach().cpu().contiguous()}, growing)
        growing.rename(self._path(name))
        self._order[name] = None

    def __delitem__(self, name: str) -> None:
        """Take a tensor away."""
        self._path(name).unlink()
        self._order.pop(name, None)

    def __contains__(self, name: object) -> bool:
        """Whether it is there."""
        return self._path(str(name)).exists()

    def __iter__(self) -> Iterator[str]:
        """Name them."""
        there = {path.name.removesuffix(SUFFIX) for path in self.folder.glob(f"[!.]*{SUFFIX}")}
        yield from (name for name in self._order if name in there)
        yield from sorted(there - self._order.keys())

    def __len__(self) -> int:
        """Count them."""
        return sum(1 for _ in self)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"


@contextmanager
def aside() -> Iterator[tuple[Aside, int]]:
    """Give a folder on the disk that temporary files are on, and how many bytes it may take there.

    What lies in it is gone when the context is left.
    """
    with tempfile.TemporaryDirectory(prefix="infra-") as folder:
        yield Aside(Path(folder)), int(USABLE * shutil.disk_usage(folder).free)
