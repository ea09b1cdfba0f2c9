"""Query directions refined towards the true damped inverse curvature, with EK-FAC as the preconditioner.

EK-FAC ignores how blocks act together and how directions of an eigenbasis do. Conjugate gradients (Hestenes &
Stiefel 1952, doi:10.6028/jres.049.044) on the Gauss-Newton Hessian of a sample of rows take both in, at the
cost of two forward and one backward pass over the sample an iteration and group. Only the query side pays:
scoring stays what it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError, RequestError
from infra_core.influence.blocks import weight_tangents
from infra_core.influence.factors import Factors, IdentityFactors
from infra_core.influence.forward_mode import logits_moved
from infra_core.influence.gradients import summing_hooks
from infra_core.influence.logits import scored_logits
from infra_core.influence.passes import (
    BATCH_TOKENS,
    differentiate,
    passing,
    quiet,
    track_factors,
)
from infra_core.influence.precision import wide
from infra_core.influence.query import (
    Preconditioned,
    Vector,
    precondition_blocks,
    query_gradients,
    rounded,
    stack_directions,
)
from infra_core.influence.tracking import Tracked, capture
from infra_core.lm.batching import Batch
from infra_core.recipe import ScoreParams

ROUNDING = 1e-7
"""Relative residual below which fp32 has nothing left to refine."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """What conjugate gradients reached.

    Attributes
    ----------
    preconditioned
        The refined directions.
    residuals
        By group: ‖∇f − (H + λI) x‖ / ‖∇f‖ of EK-FAC's own solution, and after each iteration.
    """

    preconditioned: Preconditioned
    residuals: dict[str, list[float]]


def refine_queries(
    model: nn.Module,
    factors: Mapping[str, Factors],
    groups: Mapping[str, Sequence[TokenizedExample]],
    examples: Sequence[TokenizedExample],
    params: ScoreParams,
    *,
    iterations: int = 8,
    batch_tokens: int = BATCH_TOKENS,
) -> Refinement:
    """Solve (H + λI) x = ∇f of every group, starting from EK-FAC's solution.

    H is the Gauss-Newton Hessian of the mean over `examples` of the loss of a sequence, in all tracked blocks
    together; λ of a block is that of its factors, so that both solve the same problem.

    Parameters
    ----------
    model
        The model that the factors were fitted on.
    factors
        From `fit_factors`; identity curvature has no λ and is refused.
    groups
        Queries by group name.
    examples
        Training rows that H is of; a sample will do.
    params
        Damping.
    iterations
        Products with H a group, besides the first.
    batch_tokens
        Padded positions a batch.

    Raises
    ------
    RequestError
        If the curvature is the identity.
    DataError
        If no row has a scored token.
    """
    if any(isinstance(each, IdentityFactors) for each in factors.values()):
        raise RequestError("identity curvature cannot be refined: it has no damping; fit EK-FAC first")
    if not any(bool(example.scored[1:].any()) for example in examples):
        raise DataError("no example to refine queries on has a scored token; give others")
    ridges = {name: params.damping * float(each.eigenvalues.mean()) for name, each in factors.items()}  # type: ignore[union-attr]
    with quiet(model):
        tracked = track_factors(model, factors)

    def curved(vector: Vector) -> Vector:
        product = gauss_newton_product(model, tracked, examples, vector, batch_tokens=batch_tokens)
        return {name: product[name] + ridges[name] * vector[name] for name in vector}

    def approximate(vector: Vector) -> Vector:
        return precondition_blocks(vector, factors, params)

    found, residuals = {}, {}
    for group, gradients in query_gradients(model, factors, groups, (batch_tokens, None)):
        solution, residuals[group] = conjugate_gradients(curved, gradients, approximate, iterations)
        found[group] = rounded(solution, params.products)
    return Refinement(stack_directions(found, params.products), residuals)


def conjugate_gradients(
    product: Callable[[Vector], Vector],
    target: Vector,
    approximate: Callable[[Vector], Vector],
    iterations: int,
) -> tuple[Vector, list[float]]:
    """Solve product(x) = target for a positive definite product; return x and the relative residuals.

    Parameters
    ----------
    product
        Multiplies a vector by the matrix.
    target
        Right-hand side.
    approximate
        Multiplies a vector by an approximate inverse, positive definite too: the preconditioner, and where
        the search starts.
    iterations
        Steps at most; it stops early once the residual is lost in rounding.
    """
    norm = _dot(target, target) ** 0.5
    solution = approximate(target)
    residual = _plus(target, -1.0, product(solution))
    history = [_dot(residual, residual) ** 0.5 / norm]
    search = remedy = approximate(residual)
    energy = _dot(residual, remedy)
    for _ in range(iterations):
        if history[-1] < ROUNDING:
            break
        moved = product(search)
        step = energy / _dot(search, moved)
        solution = _plus(solution, step, search)
        residual = _plus(residual, -step, moved)
        history.append(_dot(residual, residual) ** 0.5 / norm)
        remedy = approximate(residual)
        before, energy = energy, _dot(residual, remedy)
        search = _plus(remedy, energy / before, search)
    return solution, history


def _dot(one: Vector, other: Vector) -> float:
    return sum(float((one[name].double() * other[name].double()).sum()) for name in one)


def _plus(one: Vector, scale: float, other: Vector) -> Vector:
    return {name: one[name] + scale * other[name] for name in one}


def gauss_newton_product(
    model: nn.Module,
    tracked: Tracked,
    examples: Sequence[TokenizedExample],
    vector: Vector,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Vector:
    r"""Return :math:`\frac{1}{n} \sum_{b,t} J_t^\top S_t J_t v` over n examples b and their tokens t.

    J is the Jacobian of a token's logits by the tracked weights, S = diag(p) − p pᵀ the Hessian of its loss
    by them (Schraudolph 2002, doi:10.1162/08997660260028683).

    Parameters
    ----------
    model
        A causal language model of transformers.
    tracked
        Its tracked blocks.
    examples
        Rows that the curvature is of.
    vector
        By block name.
    batch_tokens
        Padded positions a batch.
    """
    with quiet(model):
        totals, hooks = summing_hooks(model, tracked)
        tangents = weight_tangents(model, tracked.blocks, vector)
        for batch, _ in passing(model, examples, batch_tokens, None):
            pushed = _pushed(model, batch, tangents)
            with capture(model, tracked, batch, *hooks):
                logits = scored_logits(model, batch)
                differentiate((logits.to(pushed.dtype) * pushed).sum())
    return {name: total / len(examples) for name, total in totals.items()}


def _pushed(model: nn.Module, batch: Batch, tangents: Mapping[str, Tensor]) -> Float[Tensor, "N V"]:
    """Return S J v: how the logits move with the weights, through the curvature of their loss."""
    logits, moves = logits_moved(model, batch, tangents)
    probabilities = logits.to(wide(logits.dtype)).softmax(-1)
    weighted = probabilities * moves
    return weighted - probabilities * weighted.sum(-1, keepdim=True)
