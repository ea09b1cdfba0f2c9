"""Scores of every row for every query, by influence and by the cheaper rivals that it has to beat.

More is always taken to be better: a higher score says that a row raises the query's log-likelihood more.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import bm25s
import numpy as np
from scipy.stats import rankdata

from infra_core.evaluation.likelihood import likelihoods
from infra_core.influence import (
    fit_factors,
    refine_queries,
    self_influence,
)
from infra_core.lm.embedding import embed
from infra_core.recipe.validity import Method, Variant
from infra_core.seeds import generator
from infra_core.validity.contest import Contest
from infra_core.validity.pairwise import in_portions, influence_along, pairwise_influence
from infra_core.validity.trajectory import PLAIN, gradient_cosines, less, scoring_models, tracin

WORD = re.compile(r"[a-z0-9]+")


def _influence(contest: Contest, damping: float | None = None, **changes: object) -> np.ndarray:
    scores = contest.scores if damping is None else contest.scores.model_copy(update={"damping": damping})
    factors = fit_factors(
        contest.model,
        contest.examples,
        contest.factors.model_copy(update=changes),
        batch_tokens=contest.batch_tokens,
    )
    return pairwise_influence(
        contest.model, factors, contest.queries, contest.examples, scores,
        batch_tokens=contest.batch_tokens,
    )  # fmt: skip


def _refined(contest: Contest) -> np.ndarray:
    """Refine each query's direction by conjugate gradients on a sample of the rows."""
    params = contest.factors.model_copy(update={"modules": "all"})
    factors = fit_factors(contest.model, contest.examples, params, batch_tokens=contest.batch_tokens)
    chosen = generator(contest.seed, "refine").permutation(len(contest.examples))
    columns = []
    for asked in in_portions(contest.model, contest.queries):
        refined = refine_queries(
            contest.model,
            factors,
            asked,
            [contest.examples[place] for place in chosen[: contest.refine_rows]],
            contest.scores,
            iterations=contest.refine_iterations,
            batch_tokens=contest.batch_tokens,
        )
        columns.append(
            influence_along(
                contest.model, refined.preconditioned, contest.examples, batch_tokens=contest.batch_tokens
            )
        )
    return np.concatenate(columns, axis=1)


def _norms(contest: Contest) -> np.ndarray:
    plain = contest.factors.model_copy(update={"curvature": "identity"})
    factors = fit_factors(contest.model, contest.examples, plain)
    squares = self_influence(
        contest.model, factors, contest.examples, PLAIN, batch_tokens=contest.batch_tokens
    )
    return np.sqrt(squares["self_influence"].to_numpy())


def _rds(contest: Contest) -> np.ndarray:
    rows, asked = (
        embed(contest.base, each, batch_tokens=contest.batch_tokens)
        for each in (contest.examples, contest.queries)
    )
    return (rows @ asked.T).double().numpy()


def _bm25(contest: Contest) -> np.ndarray:
    words = [WORD.findall(text.lower()) for text in contest.texts]
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    asked = [WORD.findall(text.lower()) for text in contest.query_texts]
    return np.stack([np.asarray(index.get_scores(each), dtype=float) for each in asked], axis=1)


def _loss(contest: Contest) -> np.ndarray:
    """Return the NLL per token of each row under the model before fine-tuning."""
    told = likelihoods(contest.base, contest.examples, batch_tokens=contest.batch_tokens)
    return np.array([
        each.nll / max(1, int(row.scored.sum())) for each, row in zip(told, contest.examples, strict=True)
    ])


def _loss_mid(contest: Contest) -> np.ndarray:
    places = rankdata(_loss(contest)) / len(contest.examples)
    return -np.abs(places - 0.5)


def _length(contest: Contest) -> np.ndarray:
    return np.array([int(row.scored.sum()) for row in contest.examples])


METHODS: dict[Method, Callable[[Contest], np.ndarray]] = {
    "ekfac_mlp": lambda contest: _influence(contest, modules="mlp", curvature="ekfac"),
    "ekfac_all": lambda contest: _influence(contest, modules="all", curvature="ekfac"),
    "ekfac_refined": _refined,
    "kfac": lambda contest: _influence(contest, curvature="kfac"),
    "identity": lambda contest: _influence(contest, curvature="identity"),
    "tracin": tracin,
    "less": less,
    "gradient_cosine": lambda contest: gradient_cosines(contest, contest.model),
    "gradient_norm": lambda contest: contest.alike(_norms(contest)),
    "rds": _rds,
    "bm25": _bm25,
    "loss_top": lambda contest: contest.alike(_loss(contest)),
    "loss_mid": lambda contest: contest.alike(_loss_mid(contest)),
    "length": lambda contest: contest.alike(_length(contest)),
    "random": lambda contest: contest.alike(generator(contest.seed, "random").random(len(contest.examples))),
}
"""Method → its scores, rows × queries."""


def varied(contest: Contest, variant: Variant) -> np.ndarray:
    """Return the scores, rows × queries, of influence that differs from the recipe's own as told."""
    changes = variant.model_dump(exclude_none=True, exclude={"seeds", "after"})
    found = [
        _influence(replace(contest, model=model), **changes) for model in scoring_models(contest, variant)
    ]
    return np.mean(found, axis=0)
