"""Influence of whole examples on many single queries: what score tables are judged by.

Scores by span and token cost a product with every query's direction at each token. Where only sums over whole
examples are wanted, an example's gradient is formed first, and a query then costs one product with it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.influence import Factors, Preconditioned, ScoreParams, precondition_queries
from infra_core.influence.blocks import blocks_shaped
from infra_core.influence.gradients import gradient_hooks
from infra_core.influence.labels import DATA
from infra_core.influence.passes import BATCH_TOKENS, passing, quiet, send_gradients
from infra_core.influence.scores import influence
from infra_core.influence.tracking import track
from infra_core.lm.batching import predicting

DIRECTIONS_BYTES = 1 << 30
"""Of queries' directions that are held at once; what does not fit takes another pass over the examples."""

Change = Callable[[str, TokenizedExample, Tensor], Tensor]
"""Given a block's name, an example and its gradient, what is to stand in the gradient's place."""


def pairwise_influence(
    model: nn.Module,
    factors: Mapping[str, Factors],
    queries: Sequence[TokenizedExample],
    examples: Sequence[TokenizedExample],
    params: ScoreParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> np.ndarray:
    """Return the influence of each example on the log-likelihood of each query, examples × queries.

    It is the influence that `score_examples` gives each query as a group of its own.

    Parameters
    ----------
    model
        The model that the factors were fitted on.
    factors
        From `fit_factors`.
    queries, examples
        Rows with scored tokens.
    params
        Damping.
    batch_tokens
        Padded positions a batch; does not change the result beyond rounding.
    """
    asked = each_direction(model, factors, queries, params, batch_tokens=batch_tokens)
    found = [influence_along(model, some, examples, batch_tokens=batch_tokens) for some in asked]
    return np.concatenate([np.zeros((len(examples), 0)), *found], axis=1)


def each_direction(
    model: nn.Module,
    factors: Mapping[str, Factors],
    queries: Sequence[TokenizedExample],
    params: ScoreParams,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[Preconditioned]:
    """Yield the directions of queries, each a group of its own, as many at a time as may be held."""
    for asked in in_portions(model, queries):
        yield precondition_queries(model, factors, asked, params, batch_tokens=batch_tokens)


def in_portions(
    model: nn.Module, queries: Sequence[TokenizedExample]
) -> Iterator[dict[str, Sequence[TokenizedExample]]]:
    """Yield queries, each a group of its own, as many at a time as directions of may be held."""
    width = directions_at_once(sum(weight.numel() * weight.element_size() for weight in model.parameters()))
    for start in range(0, len(queries), width):
        yield {str(place): [query] for place, query in enumerate(queries[start : start + width])}


def directions_at_once(weights: int) -> int:
    """Return of how many queries directions are held at once beside a model of so many bytes."""
    return max(1, DIRECTIONS_BYTES // weights)


def influence_along(
    model: nn.Module,
    asked: Preconditioned,
    examples: Sequence[TokenizedExample],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> np.ndarray:
    """Return the influence of each example on each group of preconditioned queries, examples × groups."""
    return gradient_products(model, asked, examples, batch_tokens=batch_tokens)[0]


def gradient_products(
    model: nn.Module,
    asked: Preconditioned,
    examples: Sequence[TokenizedExample],
    change: Change | None = None,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> tuple[np.ndarray, np.ndarray]:
    """Return influence, examples × groups, and the length of each example's gradient.

    With `change`, of what stands in the gradient's place.
    """
    slopes = torch.zeros(len(examples), len(asked.groups), dtype=torch.float64)
    squares = torch.zeros(len(examples), dtype=torch.float64)
    flat = {name: each.flatten(1) for name, each in asked.directions.items()}
    with quiet(model):
        tracked = track(model, blocks_shaped(model, asked.shapes, "queries"))
        for batch, rows in passing(model, examples, batch_tokens, None):
            places = batch.index

            def add(
                name: str,
                row: int,
                gradient: Tensor,
                places: tuple[int, ...] = places,
                rows: Sequence[TokenizedExample] = rows,
            ) -> None:
                if change is not None:
                    gradient = change(name, rows[row], gradient)
                moved = gradient.flatten().to(flat[name])
                slopes[places[row]] += (flat[name] @ moved).double().cpu()
                squares[places[row]] += moved.double().square().sum().cpu()

            hooks = gradient_hooks(tracked, dict.fromkeys(flat), add, asked.products)
            send_gradients(model, tracked, batch, rows, [DATA], hooks(predicting(batch)))
    return influence(slopes).numpy(), squares.sqrt().numpy()
