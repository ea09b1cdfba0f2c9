"""Fits of curvature, some layers at a time: here, or shared out to workers.

Shared out, rows are divided first and layers after. Every worker passes some batches through the model and
leaves what goes into each turn's layers and the gradients that come back; then every worker fits some turns,
on all rows, in their order. So each sum is made by one, as one process makes it, and factors are the same to
the bit whatever the number of workers. A worker that is lost loses the turn that it was at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from infra_core.corpus import TokenizedExample
from infra_core.influence import FactorParams, KeptPasses, in_partitions
from infra_core.influence.passes import make_passes
from infra_core.influence.plan import choosing
from infra_core.lm.classes import PreTrainedModel
from infra_core.recipe.params import ModuleChoice
from infra_core.runtime.memory import give_back
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._aside import Aside, aside
from tasks._factors import fit_rows, load_fitted, note_probe, pending_modules, write_layers
from tasks._progress import progress
from tasks._shares import is_shared, share_out
from tasks._stage import RunContext

FitTurn = Callable[..., Mapping[str, Any]]
"""A module's function ``turn(ctx, model, rows, params, given, update)`` that fits some layers, by block."""


@dataclass(frozen=True)
class Fit:
    """What fitting needs; travels to workers.

    Attributes
    ----------
    stage
        Name.
    turn
        Fits some layers.
    given
        What they are fitted on beside model and rows: eigenbases.
    light
        Whether it takes no pass over the rows, and so is not worth sharing out.
    params
        Of all that is to be fitted.
    turns
        Choices of modules that are fitted one after the other, or by different workers.
    passes
        Folder of passes that were made before; none if whoever fits makes its own.
    room
        Bytes that a worker may take in it.
    """

    stage: str
    turn: FitTurn
    checkpoint: Artifact
    corpus: Artifact
    params: FactorParams
    given: Artifact | None = None
    light: bool = False
    turns: tuple[ModuleChoice, ...] = ()
    passes: str | None = None
    room: int = 0


def fit_layers(ctx: RunContext, out: WorkDir, fit: Fit) -> None:
    """Fit what is still to be fitted and write it, a file a layer."""
    shared = is_shared(ctx) and not fit.light
    loaded = load_fitted(
        replace(ctx, device="cpu", on_host=False) if shared else ctx, fit.checkpoint, fit.params
    )
    pending = pending_modules(out, loaded[0], fit.params)
    if not pending:
        return
    wanted = fit.params.model_copy(update={"modules": choosing(pending)})
    least = ctx.workers if shared else 1
    parts = in_partitions(
        loaded[0], wanted, fit.stage, ctx.factor_bytes, at_least=least, passing=ctx.pass_bytes
    )
    fit = replace(fit, turns=tuple(part.modules for part in parts))
    if not shared:
        _fit(ctx, out, loaded, fit.turns, fit)
        return
    del loaded
    with aside() as (shelf, room):
        if ctx.cluster == "processes":  # which see this machine's disk
            fit = replace(fit, passes=str(shelf.folder), room=room // ctx.workers)
            share_out(ctx, out, pass_share, [(number, ctx.workers) for number in range(ctx.workers)], fit)
        share_out(ctx, out, fit_turns, fit.turns, fit)


def pass_share(ctx: RunContext, _out: WorkDir, shares: Sequence[tuple[int, int]], fit: Fit) -> None:
    """Pass some batches of the rows through the model, for whoever fits layers."""
    model, tokenizer = load_fitted(ctx, fit.checkpoint, fit.params)
    rows = fit_rows(ctx, fit.corpus, tokenizer, model)
    shelf = Aside(Path(fit.passes or ""))
    for share in shares:
        kept = KeptPasses(rows, budget=fit.room, ranges=fit.turns, shelf=shelf)
        with progress(
            f"{_titled(fit)}, passes {share[0] + 1} of {share[1]}, tokens", _tokens(rows)
        ) as update:
            make_passes(model, kept, fit.params, share, batch_tokens=ctx.micro_batch_tokens, progress=update)


def fit_turns(ctx: RunContext, out: WorkDir, turns: Sequence[ModuleChoice], fit: Fit) -> None:
    """Fit the layers of some turns."""
    _fit(ctx, out, load_fitted(ctx, fit.checkpoint, fit.params), turns, fit)


def _fit(
    ctx: RunContext,
    out: WorkDir,
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    turns: Sequence[ModuleChoice],
    fit: Fit,
) -> None:
    model, tokenizer = loaded
    examples = fit_rows(ctx, fit.corpus, tokenizer, model)
    if fit.given is not None and fit.turns[0] in turns:  # the later of two stages, and once
        note_probe(out, model, examples, fit.params.modules, ctx.micro_batch_tokens)
    with _kept(examples, turns, fit) as rows:
        for turn in turns:
            number = f" {fit.turns.index(turn) + 1} of {len(fit.turns)}" if len(fit.turns) > 1 else ""
            part = fit.params.model_copy(update={"modules": turn})
            if not pending_modules(out, model, part):  # written by an attempt before
                continue
            with progress(f"{_titled(fit)}{number}, tokens", _tokens(examples)) as update:
                found = fit.turn(ctx, model, rows, part, fit.given, update)
            give_back()
            write_layers(out, found)
            del found  # before those of the next turn come


@contextmanager
def _kept(
    examples: Sequence[TokenizedExample], turns: Sequence[ModuleChoice], fit: Fit
) -> Iterator[Sequence[TokenizedExample]]:
    """Give the rows, with what was kept of their passes or will be needed of them again."""
    if fit.passes is not None:
        yield KeptPasses(examples, budget=0, ranges=turns, shelf=Aside(Path(fit.passes)))
    elif len(turns) == 1:
        yield examples
    else:
        with aside() as (shelf, room):
            yield KeptPasses(examples, budget=room, ranges=turns, shelf=shelf)


def _titled(fit: Fit) -> str:
    return fit.stage.replace("_", " ")


def _tokens(rows: Sequence[TokenizedExample]) -> int:
    return sum(map(len, rows))
