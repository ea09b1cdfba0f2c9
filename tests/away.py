"""A make-believe device: its tensors lie on the host, but no operation takes both kinds, as with a GPU.

So a machine without a GPU sees whether all that is needed was moved to where it runs. Indexes must be, too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

HOST = torch.device("cpu")
AWAY = torch.device("lazy", 0)  # a kind that torch has a name for, and no kernels
aten = torch.ops.aten
MOVES = (aten._to_copy.default, aten.copy_.default)


class Away(Tensor):
    """A tensor on the device, and what it is here."""

    @staticmethod
    def __new__(cls, here: Tensor) -> "Away":
        """Take a tensor of the host, whose memory it keeps."""
        made = Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=AWAY
        )
        made.here = here
        return made

    def tolist(self) -> list[Any]:
        """Return its numbers."""
        return self.here.tolist()

    def untyped_storage(self) -> torch.UntypedStorage:
        """Return its memory."""
        return self.here.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, func, _types, args=(), kwargs=None) -> Any:
        """Run an operation: on the host, if all that it takes is on the same side."""
        named = kwargs or {}
        given = list(_tensors((*args, *named.values())))
        away = {id(each.here): each for each in given if isinstance(each, Away)}
        lone = torch.Tag.pointwise in func.tags  # then a GPU's tensors may meet a number of the host
        on_host = [each for each in given if not isinstance(each, Away) and (each.dim() or not lone)]
        if away and on_host and func not in MOVES:
            raise RuntimeError(f"{func} of what is on {AWAY} and what is on the host")
        if func is aten._efficientzerotensor.default:  # has no memory, which is understood above this only
            func = aten.zeros.default
        found = func(*_each(_here, args), **{name: _here(each) for name, each in named.items()})
        where = named.get("device") or (AWAY if away else HOST)
        if where.type != AWAY.type:
            return found

        def there(value: Any) -> Any:
            made = isinstance(value, Tensor) and id(value) not in away
            return cls(value) if made else away.get(id(value), value)  # which was changed in place

        return _each(there, found)


class _Everywhere(TorchDispatchMode):
    """Sees operations on what is on the host as well, which may make or move what is on the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        return Away.__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def far_away() -> Iterator[torch.device]:
    """Give the device, which is there until the end of the context."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor` makes it on the host and moves it
    try:
        with _Everywhere():
            yield AWAY
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_each(change, part) for part in value)
    return change(value)


def _here(value: Any) -> Any:
    if isinstance(value, torch.device):
        return HOST
    return value.here if isinstance(value, Away) else value
