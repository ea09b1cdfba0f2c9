"""∇fᵀ (H + λI)⁻¹ ∇L token by token, under either rule; both sum to that of the example."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence.blocks import weight_tangents
from infra_core.influence.compress import Compressed
from infra_core.influence.forward_mode import states_moved
from infra_core.influence.kept import KeptPasses
from infra_core.influence.labels import DATA, scored_targets
from infra_core.influence.passes import send_gradients
from infra_core.influence.precision import wide
from infra_core.influence.query import Preconditioned
from infra_core.influence.tracking import Tracked
from infra_core.lm.batching import Batch, predicting
from infra_core.lm.objective import target_losses

Queries = Preconditioned | Compressed
SlopesOf = Callable[[Batch, Sequence[TokenizedExample]], Tensor]
"""Given a batch and its rows, the slopes by part, group, row and token."""


def position_rule(
    model: nn.Module,
    tracked: Tracked,
    queries: Queries,
    parts: Mapping[str, str],
    kept: KeptPasses | None,
) -> SlopesOf:
    """Return δₜᵀ P aₜ summed over the blocks of each part: one backward pass a batch for all groups."""
    numbers = {part: number for number, part in enumerate(dict.fromkeys(parts.values()))}

    def slopes_of(batch: Batch, rows: Sequence[TokenizedExample]) -> Float[Tensor, "parts Q B T"]:
        positions = predicting(batch)
        flat = _zeros(model, len(numbers), len(queries.groups), int(positions.sum()))

        def on_input(_leader: str, a: Tensor, at: Tensor | None) -> tuple[Tensor, Tensor | None]:
            return a.to(flat.dtype), at

        def on_gradient(name: str, given: tuple[Tensor, Tensor | None], g: Tensor) -> None:
            (a, at), into = given, flat[numbers[parts[name]]]
            for query, terms in queries.slopes(name, a, g.to(flat.dtype)):
                if at is None:
                    into[query] += terms
                else:
                    into[query].index_add_(0, at, terms)

        send_gradients(model, tracked, batch, rows, [DATA], (on_input, on_gradient), kept)
        slopes = _zeros(model, len(numbers), len(queries.groups), *batch.ids.shape)
        # Position t-1 predicts token t, and entry t is about token t.
        slopes[..., 1:][..., positions[:, :-1]] = flat
        return slopes

    return slopes_of


def loss_term_rule(
    model: nn.Module,
    tracked: Tracked,
    queries: Queries,
    parts: Mapping[str, str],
    _kept: KeptPasses | None,
) -> SlopesOf:
    """Return d/dε Lₜ(θ + εP) of each token's own loss: one forward-mode pass a batch, group and part.

    The pass ends below the output head. A token's loss moves with what the head is given, and how is the same
    for every group: ∂Lₜ/∂hₜ, from the first pass.
    """
    members = [
        {name: block for name, block in tracked.blocks.items() if parts[name] == part}
        for part in dict.fromkeys(parts.values())
    ]

    def slopes_of(batch: Batch, _rows: Sequence[TokenizedExample]) -> Float[Tensor, "parts Q B T"]:
        slopes = _zeros(model, len(members), len(queries.groups), *batch.ids.shape)
        by_state: Tensor | None = None

        def loss(logits: Tensor) -> Tensor:
            return target_losses(logits, scored_targets(batch)).sum()

        for part, blocks in enumerate(members):
            for query in range(len(queries.groups)):
                # Laid out anew for each batch: those of many groups would not fit beside each other.
                directions = {name: queries.direction(name, query) for name in blocks}
                tangents = weight_tangents(model, blocks, directions)
                moved, by_state = states_moved(model, batch, tangents, loss, by_state)
                del tangents  # before the next are laid out
                slopes[part, query, batch.scored] = torch.linalg.vecdot(
                    moved.to(slopes.dtype), by_state.to(slopes.dtype)
                )
        return slopes

    return slopes_of


def _zeros(model: nn.Module, *shape: int) -> Tensor:
    parameter = next(model.parameters())
    return torch.zeros(shape, dtype=wide(parameter.dtype), device=parameter.device)


RULES: dict[str, Callable[[nn.Module, Tracked, Queries, Mapping[str, str], KeptPasses | None], SlopesOf]] = {
    "position": position_rule,
    "loss_term": loss_term_rule,
}
"""What each token rule computes."""
