"""Necessary floating-point operations of each stage: what no implementation of it can leave out.

A multiply-add is two. Nothing padded, repeated or thrown away is counted, so that no stage looks fast by
doing work that was not needed. Attention counts the pairs that a causal mask leaves; norms, activations,
softmax and other elementwise work count as nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.workloads import Workload
from infra_core.corpus.example import TokenizedExample


@dataclass(frozen=True, slots=True)
class Fed:
    """Linear modules fed with the same tensor of width `d_in`; one entry of `d_out` a module."""

    d_in: int
    d_out: tuple[int, ...]

    @property
    def weights(self) -> int:
        """Entries of their weights together."""
        return self.d_in * sum(self.d_out)


def mlp_modules(workload: Workload) -> list[Fed]:
    """Return the tracked modules of all layers: gate and up, which share their input, and down."""
    return [Fed(workload.hidden, (workload.mlp, workload.mlp)), Fed(workload.mlp, (workload.hidden,))] * (
        workload.layers
    )


def covariances(fed: Fed, positions: int) -> int:
    """A once for all modules and G for each, of which symmetry gives half."""
    return positions * sum(width * (width + 1) for width in (fed.d_in, *fed.d_out))


def corrected_eigenvalues(fed: Fed, positions: int) -> int:
    """Λ of one row: every module's gradient, and each side rotated before or after it, whichever is less.

    Before the product a rotation costs a width squared for each position; after it, for each entry of the
    other side.
    """
    form = 2 * positions * fed.weights
    side_a = 2 * fed.d_in**2 * min(positions, sum(fed.d_out))
    side_g = sum(2 * d_out**2 * min(positions, fed.d_in) for d_out in fed.d_out)
    return form + side_a + side_g


def token_scores(fed: Fed, positions: int, groups: int) -> int:
    """δₜᵀ P aₜ of every position and group: P a, and a dot product with δ."""
    return 2 * positions * groups * (fed.weights + sum(fed.d_out))


def instance_scores(fed: Fed, positions: int, groups: int) -> int:
    """⟨P, Σ δₜ aₜᵀ⟩ of one row: token by token, or the row's gradient first if that is less."""
    gradient_first = 2 * fed.weights * (positions + groups)
    return min(token_scores(fed, positions, groups), gradient_first)


def query_gradient(fed: Fed, positions: int) -> int:
    """Add up δₜ aₜᵀ over a query's positions."""
    return 2 * positions * fed.weights


def preconditioning(fed: Fed) -> int:
    """Rotate one group's gradient in and out again, on both sides."""
    return 4 * sum(d_out * fed.d_in * (d_out + fed.d_in) for d_out in fed.d_out)


def model_pass(workload: Workload, positions: int, scored: int) -> int:
    """Forward and backward of one row, with logits only where scored and no gradient of a weight.

    The backward pass ends at the lowest tracked modules, gate and up of the first layer.
    """
    return linear_pass(workload, positions, scored) + attention_pass(workload, positions)


def linear_pass(workload: Workload, positions: int, scored: int) -> int:
    """Return the part of `model_pass` that is projections, MLPs and head."""
    head_width = workload.hidden // workload.heads
    projections = 2 * workload.hidden * (workload.heads + workload.kv_heads) * head_width
    layer = projections + 3 * workload.hidden * workload.mlp
    lowest = workload.hidden * workload.mlp  # its down projection alone is gone back through
    weights = (2 * workload.layers - 1) * layer + lowest
    return 2 * positions * weights + 2 * 2 * scored * workload.hidden * workload.vocabulary


def attention_pass(workload: Workload, positions: int) -> int:
    """Return the part of `model_pass` between queries, keys and values: two products forward, four back."""
    products = 2 * workload.layers + 4 * (workload.layers - 1)
    pairs = positions * (positions + 1) // 2
    return 2 * products * pairs * workload.hidden


def stages(
    workload: Workload, rows: Sequence[TokenizedExample], queries: Sequence[TokenizedExample]
) -> dict[str, int]:
    """Return the operations of each stage, every query a group of its own.

    Each stage has its own passes over the model; `shared_pass` is what a fusion of Λ and scores would save.
    """
    modules = mlp_modules(workload)

    def passes(examples: Sequence[TokenizedExample]) -> int:
        return sum(model_pass(workload, len(one) - 1, int(one.scored.sum())) for one in examples)

    lengths = [len(one) - 1 for one in rows]
    model = passes(rows)
    return {
        "covariance": model + sum(covariances(fed, n) for fed in modules for n in lengths),
        "lambda": model + sum(corrected_eigenvalues(fed, n) for fed in modules for n in lengths),
        "queries": passes(queries)
        + sum(query_gradient(fed, len(query) - 1) for fed in modules for query in queries)
        + len(queries) * sum(map(preconditioning, modules)),
        "scores": model + sum(token_scores(fed, n, len(queries)) for fed in modules for n in lengths),
        "shared_pass": model,
    }
