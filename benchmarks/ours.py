"""Our engine through its public calls, stage by stage."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from benchmarks.stopwatch import Stopwatch
from benchmarks.workloads import BATCH_TOKENS
from infra_core.corpus.example import TokenizedExample
from infra_core.influence import (
    FactorParams,
    Factors,
    Preconditioned,
    ScoreParams,
    fit_factors,
    precondition_queries,
    score_examples,
)
from infra_core.influence.covariance import eigenbases, fit_covariances

DAMPING = 0.1

ENERGY = 0.99
"""The share of energy that compressed queries keep in every module."""

POLICIES: dict[str, dict[str, object]] = {"fp32": {}}
"""What each precision policy adds to FactorParams and ScoreParams. Not bf16 products: no faster on a CPU."""

FASTEST = "fp32"
"""The policy that is held against the bar of the fastest one."""


def factor_params(policy: str, modules: str = "mlp", curvature: str = "ekfac") -> FactorParams:
    """Return how factors are fitted everywhere here: on the data's own labels."""
    return FactorParams.model_validate({
        "modules": modules,
        "curvature": curvature,
        "fisher": "empirical",
        **POLICIES[policy],
    })


def score_params(policy: str, rule: str = "position") -> ScoreParams:
    """Return how scores are made everywhere here."""
    return ScoreParams.model_validate({"damping": DAMPING, "token_rule": rule, **POLICIES[policy]})


def single(queries: Sequence[TokenizedExample]) -> dict[str, list[TokenizedExample]]:
    """Make every query a group of its own: what the peers call a query."""
    return {f"q{number}": [query] for number, query in enumerate(queries)}


def query_side(
    model: nn.Module, factors: Mapping[str, Factors], queries: Sequence[TokenizedExample], policy: str
) -> Preconditioned:
    """Precondition single queries, exactly."""
    params = score_params(policy)
    return precondition_queries(model, factors, single(queries), params, batch_tokens=BATCH_TOKENS)


def fit_and_score(
    model: nn.Module,
    train: Sequence[TokenizedExample],
    queries: Sequence[TokenizedExample],
    policy: str = "fp32",
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Fit EK-FAC on the rows and score them; return scores, queries down, and the seconds by stage.

    Every stage passes over the rows itself, unless `train` keeps its passes.
    """
    watch, params = Stopwatch(), factor_params(policy)
    with watch.timing("covariance"):
        covariances = fit_covariances(model, train, params, batch_tokens=BATCH_TOKENS)
    with watch.timing("eigh"):
        bases = eigenbases(covariances)
    with watch.timing("lambda"):
        factors = fit_factors(model, train, params, bases, batch_tokens=BATCH_TOKENS)
    with watch.timing("queries"):
        preconditioned = query_side(model, factors, queries, policy)
    with watch.timing("scores"):
        scores = score_examples(model, preconditioned, train, score_params(policy), batch_tokens=BATCH_TOKENS)
    return by_query(scores, len(queries)), watch.seconds


def by_query(scores: pl.DataFrame, n_queries: int) -> NDArray[np.float64]:
    """Return influence with queries down and examples across."""
    return scores["influence"].to_numpy().astype(np.float64).reshape(-1, n_queries).T
