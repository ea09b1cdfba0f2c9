"""Passes that are not made twice: what went into stretches of a model, and what gradients came back.

Covariances, eigenvalues and scores each need the activations and output gradients of the same rows. They are
the same three times, but too many to keep: 5,376 numbers a token and layer for the MLP of a model 384 wide.
Those at the two ends of the MLP are 768, and give the rest by running it alone.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.labels import DATA, Labels
from infra_core.influence.stretches import Stretch, stretches
from infra_core.influence.tracking import Hooks, Tracked, capture
from infra_core.lm.batching import Batch

GIBIBYTE = 2**30


@dataclass(slots=True)
class Record:
    """What one batch's passes left: by module, what it was fed with, and by labels its output gradient.

    Attributes
    ----------
    labels
        Of the backward pass that is going on.
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[Labels, dict[str, Tensor]] = field(default_factory=dict)
    labels: Labels = DATA

    def has(self, modules: set[str], labels: Sequence[Labels]) -> bool:
        """Whether the passes under these labels can be made again in these modules alone."""
        return modules <= self.inputs.keys() and set(labels) <= self.gradients.keys()

    def nbytes(self) -> int:
        """Count the bytes that are held on to."""
        tensors = list(self.inputs.values())
        for each in self.gradients.values():
            tensors.extend(each.values())
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
        return sum(storage.nbytes() for storage in storages.values())


class KeptPasses(Sequence[TokenizedExample]):
    """Rows whose passes through a model are kept, so that later stages over them need none of their own.

    Give the same object to `fit_eigenbasis`, `fit_factors` and `score_examples` in place of the rows. Factors
    are the same to the bit, scores but for the order in which modules are added up. What is kept lies on the
    model's device, at most `budget` bytes of it; rows that do not fit are passed through the model each time.

    Parameters
    ----------
    examples
        Rows to fit on and to score.
    budget
        Bytes to keep. Of MLP modules a row takes 2 × width × layers numbers a token, in the model's dtype.

    Notes
    -----
    Weights that changed since, in place or by another model, are noticed and nothing old is used. A change of
    anything else, such as the attention's implementation, is not: begin anew then.
    """

    def __init__(self, examples: Iterable[TokenizedExample], *, budget: int = GIBIBYTE) -> None:
        self._rows = list(examples)
        self._room = self.budget = budget
        self._records: dict[tuple[int, ...], Record] = {}
        self._made_with: tuple[Callable[[], nn.Module | None], int] | None = None
        self._stretches: list[Stretch] | None = None
        self._tracked: Tracked

    def __len__(self) -> int:
        """Count rows."""
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a list of them."""
        return self._rows[index]

    def open(self, model: nn.Module, tracked: Tracked) -> None:
        """Make ready for passes that watch these blocks, and forget those of other weights."""
        version = sum(parameter._version for parameter in model.parameters())
        if self._made_with is None or self._made_with[0]() is not model or self._made_with[1] != version:
            self._records.clear()
            self._room = self.budget
            self._made_with = weakref.ref(model), version
        self._stretches, self._tracked = stretches(model, tracked.blocks), tracked

    def worth_adding(self, labels: Sequence[Labels]) -> list[Labels]:
        """Return the labels whose gradients a pass should leave as well: the data's, which scores are of."""
        return [DATA] if self._room > 0 and self._stretches and DATA not in labels else []

    def replay(
        self,
        model: nn.Module,
        batch: Batch,
        rows: Sequence[TokenizedExample],
        labels: Sequence[Labels],
        hooks: Hooks,
    ) -> bool:
        """Send a batch's gradients through hooks, stretch by stretch, and say whether they were kept."""
        record, laid = self._records.get(_key(rows)), self._stretches or []
        if record is None or not record.has({name for each in laid for name in each.modules}, labels):
            return False
        for stretch in reversed(laid):
            within = self._tracked.within(stretch.blocks)
            with capture(model, within, batch, *hooks, backwards=len(labels)):
                outputs = {name: model.get_submodule(name)(record.inputs[name]) for name in stretch.modules}
                for left in reversed(range(len(labels))):
                    came = record.gradients[labels[left]]
                    reached = [name for name in outputs if name in came]
                    gradients = [came[name] for name in reached]
                    torch.autograd.backward(
                        [outputs[name] for name in reached], gradients, retain_graph=left > 0
                    )
        return True

    def places(self) -> list[str]:
        """Name the modules that are to be watched to keep a pass; none if there is no room."""
        return [name for stretch in self._stretches or () if self._room > 0 for name in stretch.modules]

    def add(self, rows: Sequence[TokenizedExample], record: Record) -> None:
        """Keep what the passes of a batch left, if there is room for it."""
        before = self._records.pop(_key(rows), None)
        self._room += before.nbytes() if before is not None else 0
        if record.nbytes() <= self._room:
            self._room -= record.nbytes()
            self._records[_key(rows)] = record
        else:
            self._room = 0  # nor would later batches fit, which are as large


def kept_passes(
    examples: Iterable[TokenizedExample], model: nn.Module, tracked: Tracked
) -> KeptPasses | None:
    """Return the examples themselves, made ready, if their passes are to be kept."""
    if not isinstance(examples, KeptPasses):
        return None
    examples.open(model, tracked)
    return examples


@contextmanager
def recording(
    kept: KeptPasses | None, model: nn.Module, rows: Sequence[TokenizedExample]
) -> Iterator[Record]:
    """Give what the passes inside are written to, and keep it if that is asked for."""
    record = Record()
    with ExitStack() as hooks:
        for name in kept.places() if kept is not None else ():
            handle = model.get_submodule(name).register_forward_hook(partial(_write, record, name))
            hooks.callback(handle.remove)
        yield record
    if kept is not None and record.inputs:
        kept.add(rows, record)


def _write(record: Record, name: str, _module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
    record.inputs[name] = args[0].detach()

    def keep(gradient: Tensor) -> None:
        record.gradients.setdefault(record.labels, {})[name] = gradient

    if output.requires_grad:
        output.register_hook(keep)


def _key(rows: Sequence[TokenizedExample]) -> tuple[int, ...]:
    return tuple(map(id, rows))  # rows are held as long as what is kept of them
