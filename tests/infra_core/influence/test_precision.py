"""What rounding products to bf16 does: bounded where it is done, and ranks stay."""

import polars as pl
import pytest
import torch

from infra_core.influence import (
    FactorParams,
    ScoreParams,
    attribute,
    compress_queries,
    fit_factors,
    score_examples,
)
from infra_core.influence.precision import add_product, operand, product
from tests import tiny

EXAMPLES = tiny.examples((12, 31, 24, 9, 40, 17, 28, 14, 21, 36, 11, 26, 19, 33, 15), seed=5)
GROUPS = {"a": tiny.examples((14, 9), seed=6), "b": tiny.examples((20,), seed=7)}


def test_bf16_operands_are_rounded_and_their_products_are_not():
    """Rounded sums would be off by 4e-3 of their size; these are exact up to fp32."""
    random = torch.Generator().manual_seed(0)
    left, right = torch.randn(50, 400, generator=random), torch.randn(400, 30, generator=random)
    found = product(operand(left, "bf16"), operand(right, "bf16"))
    exact = left.bfloat16().double() @ right.bfloat16().double()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)
    assert torch.dist(found.double(), left.double() @ right.double()) > 1e-2
    total = torch.ones(50, 30)
    add_product(total, operand(left, "bf16"), operand(right, "bf16"))
    torch.testing.assert_close(total, found + 1)


def test_without_a_policy_nothing_is_rounded():
    for dtype in (torch.float32, torch.float64):
        values = torch.randn(3, 4, dtype=dtype)
        assert operand(values, None) is values
    assert operand(torch.ones(2, dtype=torch.bfloat16), None).dtype == torch.float32


def influences(model, products, **more):
    factors = fit_factors(model, EXAMPLES, FactorParams(modules="all", fisher="empirical", products=products))
    params = ScoreParams(token_rule="position", products=products, **more)
    if "energy" in more:
        return score_examples(model, compress_queries(model, factors, GROUPS, params), EXAMPLES, params)
    return attribute(model, factors, GROUPS, EXAMPLES, params)


@pytest.mark.parametrize("more", [{}, {"energy": 1.0}])
def test_bf16_products_move_scores_by_little_and_ranks_hardly(more):
    model = tiny.qwen2()
    exact, rounded = influences(model, None), influences(model, "bf16", **more)
    assert exact["influence"].to_list() != rounded["influence"].to_list()
    both = exact.with_columns(rounded=rounded["influence"])
    ranks = both.group_by("group").agg(pl.corr("influence", "rounded", method="spearman").alias("rho"))
    assert ranks["rho"].min() >= 0.98
