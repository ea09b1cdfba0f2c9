"""What every pass over examples shares: a quiet model, checked batches, gradients under some labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import nsmallest

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError, RequestError
from infra_core.influence.blocks import Block, blocks_shaped, text_config
from infra_core.influence.experts import plain_experts
from infra_core.influence.factors import Factors, shape_of
from infra_core.influence.kept import KeptPasses, Record, kept_passes, recording
from infra_core.influence.labels import Labels, fisher_labels, targets
from infra_core.influence.layer_ranges import lone_layers
from infra_core.influence.logits import scored_logits
from infra_core.influence.long_rows import is_layered, pass_by_layer
from infra_core.influence.precision import wide
from infra_core.influence.tracking import Hooks, Tracked, capture, track
from infra_core.lm.batching import Batch, batches, predicting
from infra_core.lm.objective import target_losses
from infra_core.recipe import FactorParams
from infra_core.seeds import derive_seed

Progress = Callable[[int, int | None], None]

BATCH_TOKENS = 1024
"""Padded positions a batch unless the caller says otherwise: a CPU gains by no more. No matter of results."""


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Hold the model in eval mode with frozen parameters and plain experts; give it back as it was."""
    training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        with torch.enable_grad(), plain_experts(model):
            yield
    finally:
        for module in training:
            module.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


def track_factors(model: nn.Module, factors: Mapping[str, Factors]) -> Tracked:
    """Return the blocks that factors are of, after checking that they are this model's."""
    shapes = {name: shape_of(one) for name, one in factors.items()}
    return track(model, blocks_shaped(model, shapes, "factors"))


def passing(
    model: nn.Module, examples: Iterable[TokenizedExample], batch_tokens: int, progress: Progress | None
) -> Iterator[tuple[Batch, list[TokenizedExample]]]:
    """Yield batches on the model's device with the examples they hold, reporting tokens as they are done."""
    device = next(model.parameters()).device
    total = sum(map(len, examples)) if isinstance(examples, Sequence) else None
    done = 0
    for batch, rows in batches(_checked(examples, context_length(model)), batch_tokens):
        yield batch.to(device), rows
        done += sum(map(len, rows))
        if progress is not None:
            progress(done, total)


def context_length(model: nn.Module) -> int | None:
    """Return the longest row the model was made for, or None if its config does not say."""
    return getattr(text_config(model), "max_position_embeddings", None)


def _checked(examples: Iterable[TokenizedExample], context: int | None) -> Iterator[TokenizedExample]:
    for example in examples:
        if len(example) == 0:
            raise DataError(f"example {example.example_id} has no tokens; drop it before it gets here")
        if context is not None and len(example) > context:
            raise DataError(
                f"example {example.example_id} has {len(example)} tokens but the model's context is "
                f"{context}; shorten it or leave it out (train.max_tokens)"
            )
        yield example


def fitting_rows(examples: Iterable[TokenizedExample], params: FactorParams) -> Iterable[TokenizedExample]:
    """Return the rows to fit on: `params.sequences` of them drawn by example_id, whatever their order."""
    if params.sequences is None:
        return examples
    return nsmallest(
        params.sequences, examples, key=lambda row: derive_seed(params.seed, "fit", row.example_id or "")
    )


def fisher_batches(
    model: nn.Module,
    tracked: Tracked,
    examples: Iterable[TokenizedExample],
    params: FactorParams,
    hooks: Callable[[Bool[Tensor, "B T"]], Hooks],
    batches_of: tuple[int, Progress | None],
) -> Iterator[tuple[Bool[Tensor, "B T"], list[TokenizedExample]]]:
    """Send the gradients that make up the Fisher through hooks, and yield each batch when it is done.

    They are of labels that the model drew, `params.draws` times on one forward pass, or of the data's own.

    Parameters
    ----------
    model
        In `quiet`.
    tracked
        Blocks to watch.
    examples
        Rows to draw those to fit on from.
    params
        Which rows, whose labels, how many draws, which seed.
    hooks
        Given a batch's predicting positions, what `capture` is to call for it.
    batches_of
        Padded positions a batch, and who is told of progress.

    Yields
    ------
    tuple
        The batch's predicting positions and its rows.
    """
    labels, kept = fisher_labels(params), kept_passes(examples, model, tracked)
    for batch, rows in passing(model, fitting_rows(examples, params), *batches_of):
        positions = predicting(batch)
        send_gradients(model, tracked, batch, rows, labels, hooks(positions), kept)
        yield positions, rows


def send_gradients(
    model: nn.Module,
    tracked: Tracked,
    batch: Batch,
    rows: Sequence[TokenizedExample],
    labels: Sequence[Labels],
    hooks: Hooks,
    kept: KeptPasses | None = None,
) -> None:
    """Send the gradients of a batch's loss through hooks: one forward pass, a backward pass for each labels.

    With `kept`, neither is run where they were kept before; where they were not they are now, if there is
    room, and those of the data's own labels with them: a backward pass more that saves both passes later.

    A row that is longer than a batch may be, and every row of a model whose layers wait on the host, is gone
    through layer by layer, if the model can be.
    """
    if kept is None or not kept.replay(model, batch, rows, labels, hooks):
        _pass(model, tracked, batch, rows, labels, hooks, kept)


def make_passes(
    model: nn.Module,
    kept: KeptPasses,
    params: FactorParams,
    share: tuple[int, int] = (0, 1),
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> None:
    """Make the passes that fitting some layers at a time needs, before any layer is fitted.

    So several can make them, each those of some batches, and fit layers afterwards, each some of them, on all
    that lies on a shelf which they share.

    Parameters
    ----------
    model
        A causal language model of transformers.
    kept
        Rows, with `ranges`. A model that cannot be run some layers at a time leaves nothing.
    params
        As in the fits that follow, but for modules.
    share
        Which share of how many.
    batch_tokens, progress
        As in `fit_eigenbasis`; batches must be cut as in the fits that follow.
    """
    nothing, (number, count) = Tracked({}, {}), share
    hooks: Hooks = (lambda *_: None, lambda *_: None)
    with quiet(model):
        kept.open(model, nothing)
        if not kept.watched():
            return
        rows_of = passing(model, fitting_rows(kept, params), batch_tokens, progress)
        for place, (batch, rows) in enumerate(rows_of):
            if place % count == number:
                _pass(model, nothing, batch, rows, fisher_labels(params), hooks, kept)


def _pass(
    model: nn.Module,
    tracked: Tracked,
    batch: Batch,
    rows: Sequence[TokenizedExample],
    labels: Sequence[Labels],
    hooks: Hooks,
    kept: KeptPasses | None,
) -> None:
    if is_layered(model, batch):
        ranges = [each for each in kept.watched() if each.in_a_row] if kept is not None else []
        names = [*tracked.blocks, *(block for each in ranges for block in each.blocks)]
        if (layers := lone_layers(model, names)) is not None:

            def loss_of(each: Labels, logits: Tensor) -> Tensor:
                return target_losses(logits, targets(each, logits, batch, rows)).sum()

            left = pass_by_layer(
                model, layers, batch, (tracked, hooks), list(reversed(labels)), loss_of, ranges
            )
            if kept is not None and ranges:
                kept.add(rows, Record(*left))
            return
    further = kept.worth_adding(labels) if kept is not None else []
    asked = [*reversed(labels), *further]
    with (
        capture(model, tracked, batch, *hooks, backwards=len(labels)) as watch,
        recording(kept, model, rows) as record,
    ):
        logits = scored_logits(model, batch)
        for number, each in enumerate(asked):
            watch.silent, record.labels = each in further, each
            loss = target_losses(logits, targets(each, logits, batch, rows)).sum()
            differentiate(loss, again=number + 1 < len(asked))


def differentiate(loss: Float[Tensor, ""], *, again: bool = False) -> None:
    """Run the backward pass; `again` if another will follow on the same forward pass.

    Raises
    ------
    RequestError
        If nothing that is tracked has a part in the loss. A single module that has none counts as zero.
    """
    if not loss.requires_grad:
        raise RequestError("none of the modules chosen by modules= has a part in the loss; choose others")
    loss.backward(retain_graph=again)


def accumulator(model: nn.Module, block: Block, *shape: int) -> Tensor:
    """Return zeros where the model runs, wide enough to add up what comes of a block."""
    dtype = wide(model.get_parameter(block.parameter).dtype)
    return torch.zeros(shape, dtype=dtype, device=next(model.parameters()).device)


def require_finite(sums: Mapping[str, Tensor], what: str, rows: Sequence[TokenizedExample]) -> None:
    """Stop at the batch in which a module's numbers stopped being numbers, not at the eigh a day later.

    Raises
    ------
    DataError
        Naming the module and the batch's examples.
    """
    if not sums:
        return
    finite = torch.stack(list(sums.values())).isfinite().tolist()
    for name, fine in zip(sums, finite, strict=True):
        if not fine:
            ids = ", ".join(str(row.example_id) for row in rows[:8])
            raise DataError(
                f"{what} of module {name!r} are not finite in the batch of {len(rows)} examples {ids}; "
                "look at these rows, or run the model in fp32 or bf16"
            )
