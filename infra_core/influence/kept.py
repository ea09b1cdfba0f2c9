"""Passes that are not made twice: what went into stretches of a model, and what gradients came back.

Covariances, eigenvalues and scores each need the activations and output gradients of the same rows. They are
the same three times, but too many to keep: 5,376 numbers a token and layer for the MLP of a model 384 wide.
Those at the two ends of the MLP are 768, and give the rest by running it alone. Where factors are fitted some
layers at a time, those at the two ends of such a range give the rest.
"""

import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.labels import DATA, Labels
from infra_core.influence.layer_ranges import layer_ranges, run_range
from infra_core.influence.logits import scored_logits
from infra_core.influence.long_rows import climb, descend, is_layered
from infra_core.influence.stretches import Stretch, stretches
from infra_core.influence.tracking import Hooks, Tracked, capture
from infra_core.lm.batching import Batch
from infra_core.lm.on_host import is_on_host
from infra_core.recipe.params import ModuleChoice

GIBIBYTE = 2**30

Shelf = MutableMapping[str, Tensor]
"""Where tensors lie by name until they are asked for: a dict, or a folder."""


@dataclass(slots=True)
class Record:
    """What one batch's passes leave while they are made: by module, its input and its output gradients.

    Attributes
    ----------
    labels
        Of the backward pass that is going on.
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[Labels, dict[str, Tensor]] = field(default_factory=dict)
    labels: Labels = DATA

    def nbytes(self) -> int:
        """Count the bytes that are held on to."""
        tensors = [*self.inputs.values(), *(one for each in self.gradients.values() for one in each.values())]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
        return sum(storage.nbytes() for storage in storages.values())

    def entries(self, batch: str) -> dict[str, Tensor]:
        """Return all of it by name; marks that a backward pass is there whole come last."""
        found = {_into(batch, module): tensor for module, tensor in self.inputs.items()}
        for labels, each in self.gradients.items():
            found |= {_of(batch, labels, module): tensor for module, tensor in each.items()}
        return found | {_of(batch, labels): torch.empty(0) for labels in self.gradients}


class KeptPasses(Sequence[TokenizedExample]):
    """Rows whose passes through a model are kept, so that later stages over them need none of their own.

    Give the same object to `fit_eigenbasis`, `fit_factors` and `score_examples` in place of the rows. Factors
    are the same to the bit, scores but for the order in which modules are added up. At most `budget` bytes
    are kept; rows that do not fit are passed through the model each time. Of a model whose layers wait on the
    host, nothing is kept without `ranges`.

    Parameters
    ----------
    examples
        Rows to fit on and to score.
    budget
        Bytes to keep. Of MLP modules a row takes 2 × width × layers numbers a token, in the model's dtype.
    ranges
        Choices of modules that are fitted one after the other, each some layers next to each other
        (`in_partitions`). Kept is then what each of them needs: (1 + draws) × width numbers a token.
    shelf
        Where kept tensors lie; by default they stay where they are, on the model's device. What others put
        there of the same rows and weights is used: several may make the passes (`make_passes`), or one for
        another.

    Notes
    -----
    Weights that changed since, in place or by another model, are noticed and nothing old is used. A change of
    anything else, such as the attention's implementation, is not: begin anew then.
    """

    def __init__(
        self,
        examples: Iterable[TokenizedExample],
        *,
        budget: int = GIBIBYTE,
        ranges: Sequence[ModuleChoice] | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._rows = list(examples)
        self._places = {id(row): place for place, row in enumerate(self._rows)}
        self._room = self.budget = budget
        self._ranges = ranges
        self._shelf: Shelf = {} if shelf is None else shelf
        self._added: dict[str, tuple[list[str], int]] = {}  # by batch: names on the shelf, bytes
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
            if self._made_with is not None:
                self._shelf.clear()
            self._added.clear()
            self._room = self.budget
            self._made_with = weakref.ref(model), version
            self._stretches = (
                None
                if self._ranges is None
                else layer_ranges(model, [list(choose_blocks(model, choice)) for choice in self._ranges])
            )
        self._tracked = tracked
        if self._ranges is None and not is_on_host(model):  # whose layers' own modules have no weights there
            self._stretches = stretches(model, tracked.blocks)

    def worth_adding(self, labels: Sequence[Labels]) -> list[Labels]:
        """Return the labels whose gradients a pass should leave as well: the data's, which scores are of."""
        wanted = self._ranges is None and self._room > 0 and self._stretches
        return [DATA] if wanted and DATA not in labels else []

    def replay(
        self,
        model: nn.Module,
        batch: Batch,
        rows: Sequence[TokenizedExample],
        labels: Sequence[Labels],
        hooks: Hooks,
    ) -> bool:
        """Send a batch's gradients through hooks, stretch by stretch, and say whether they were kept."""
        name, laid = self._name(rows), self._laid()
        if not all(any(stretch.holds(block) for stretch in laid) for block in self._tracked.blocks):
            return False
        if not all(self._has(name, stretch, labels) for stretch in laid):
            return False
        for stretch in reversed(laid):
            within = self._tracked.within(list(filter(stretch.holds, self._tracked.blocks)))
            if is_layered(model, batch) and stretch.in_a_row:
                given = self._shelf[_into(name, stretch.modules[0])].to(batch.ids.device)
                came_back = [
                    (each, self._shelf[_of(name, each, stretch.modules[-1])].to(batch.ids.device))
                    for each in reversed(labels)
                ]
                states = zip(stretch.modules, climb(model, stretch.modules, batch, given), strict=False)
                descend(model, list(states), batch, came_back, within, hooks)
                continue
            with capture(model, within, batch, *hooks, backwards=len(labels)):
                outputs = self._run_again(model, batch, stretch, name)
                for left in reversed(range(len(labels))):
                    came = {end: _of(name, labels[left], end) for end in outputs}
                    reached = [end for end, entry in came.items() if entry in self._shelf]
                    gradients = [self._shelf[came[end]].to(outputs[end].device) for end in reached]
                    torch.autograd.backward(
                        [outputs[end] for end in reached], gradients, retain_graph=left > 0
                    )
        return True

    def _run_again(self, model: nn.Module, batch: Batch, stretch: Stretch, name: str) -> dict[str, Tensor]:
        """Return what comes out of a stretch, by module, given what went in."""
        device = batch.ids.device
        given = {entry: self._shelf[_into(name, entry)].to(device) for entry in stretch.entries}
        if not stretch.in_a_row:
            return {entry: model.get_submodule(entry)(tensor) for entry, tensor in given.items()}

        def run() -> None:
            scored_logits(model, batch, on_states=lambda states: states[:0])  # the head makes logits of none

        return {stretch.exits[0]: run_range(model, stretch, given[stretch.entries[0]], run)}

    def _laid(self) -> list[Stretch]:
        """Return the stretches that hold something tracked."""
        return [each for each in self._stretches or () if any(map(each.holds, self._tracked.blocks))]

    def _name(self, rows: Sequence[TokenizedExample]) -> str:
        """Return what a batch of rows is called on the shelf, by whoever passes it."""
        places = ",".join(str(self._places[id(row)]) for row in rows)
        return hashlib.sha256(places.encode()).hexdigest()[:16]

    def _has(self, name: str, stretch: Stretch, labels: Sequence[Labels]) -> bool:
        """Whether a batch's passes under these labels can be made again in this stretch alone."""
        needed = [_into(name, entry) for entry in stretch.entries] + [_of(name, each) for each in labels]
        return all(entry in self._shelf for entry in needed)

    def watched(self) -> list[Stretch]:
        """Return the stretches at whose ends a pass is to be watched to keep it; none if there is no room."""
        return self._stretches or [] if self._room > 0 else []

    def add(self, rows: Sequence[TokenizedExample], record: Record) -> None:
        """Keep what the passes of a batch left, if there is room for it."""
        name = self._name(rows)
        before, freed = self._added.pop(name, ([], 0))
        for entry in before:
            del self._shelf[entry]
        self._room += freed
        if (nbytes := record.nbytes()) > self._room:
            self._room = 0  # nor would later batches fit, which are as large
            return
        self._room -= nbytes
        entries = record.entries(name)
        self._shelf.update(entries)
        self._added[name] = list(entries), nbytes


def _into(batch: str, module: str) -> str:
    return f"{batch}.in.{module}"


def _of(batch: str, labels: Labels, module: str = "") -> str:
    """Name the gradient that came back to a module; without one, the mark that all of them are there."""
    whose = "data" if labels.seed is None else f"{labels.seed}-{labels.draw}"
    return f"{batch}.{whose}.{module}".rstrip(".")


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
        watched = kept.watched() if kept is not None else []
        ends: list[tuple[str, Callable[..., None]]] = [
            (name, _write_input) for stretch in watched for name in stretch.entries
        ]
        ends += [(name, _write_gradients) for stretch in watched for name in stretch.exits]
        for name, write in ends:
            hooks.callback(
                model.get_submodule(name).register_forward_hook(partial(write, record, name)).remove
            )
        yield record
    if kept is not None and record.inputs:
        kept.add(rows, record)


def _write_input(
    record: Record, name: str, _module: nn.Module, args: tuple[Any, ...], _output: Tensor
) -> None:
    record.inputs[name] = args[0].detach()


def _write_gradients(
    record: Record, name: str, _module: nn.Module, _args: tuple[Any, ...], output: Tensor
) -> None:
    def keep(gradient: Tensor) -> None:
        record.gradients.setdefault(record.labels, {})[name] = gradient

    if not output.requires_grad:  # below the lowest block that is tracked, and wanted for those further down
        output.requires_grad_()
    output.register_hook(keep)
