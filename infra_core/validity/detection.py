"""How well scores find planted rows and spans: the chance that a planted one stands below a clean one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from infra_core.evaluation.statistics import Interval, share_interval

HIGH = {"duplicate"}
"""Kinds that good scores put first; all others they put last."""

CLEAN, HARD = "clean", "unusual"


@dataclass(frozen=True)
class Detection:
    """How well one kind is told from other rows.

    Attributes
    ----------
    auc
        The chance that a planted row stands on the right side of one it is compared with, ties as a half.
    precision
        Average precision, and what it would be by chance.
    """

    kind: str
    against: str
    auc: Interval
    precision: float
    chance: float


def find_rows(rows: pl.DataFrame, scores: pl.DataFrame, groups: Sequence[str], seed: int) -> list[Detection]:
    """Return how well scores find each kind of planted row.

    A row is asked for its mean score over the queries of its domain, or over all where the domain has none; a
    near-duplicate of a query for its highest. It is compared with clean rows of its domain, a row of no
    domain of the corpus with all of them. Wrong rows are also compared with unusual but right ones.

    Parameters
    ----------
    rows
        `example_id`, `domain`, and `kind`: ``clean`` or a planted one.
    scores
        `example_id`, `scores` on single queries.
    groups
        Of each query.
    seed
        Of the intervals, over planted rows.
    """
    known = rows.join(scores.unique("example_id"), on="example_id", how="inner", maintain_order="left")
    table = np.array(known["scores"].to_list(), dtype=float)
    asked = np.array([group.split("/")[0] for group in groups])
    domains, kinds = known["domain"].to_numpy(), known["kind"].to_numpy()
    pairs = [(kind, CLEAN) for kind in dict.fromkeys(kinds) if kind != CLEAN]
    if {"wrong", HARD} <= set(kinds):
        pairs.append(("wrong", HARD))
    found = []
    for kind, against in pairs:
        strata = {}
        for domain in dict.fromkeys(domains[kinds == kind]):
            is_ours = domain in asked
            on_its_own = table[:, asked == domain] if is_ours else table
            values = table.max(axis=1) if kind in HIGH else -on_its_own.mean(axis=1)
            beside = (domains == domain) | (not is_ours)
            strata[domain] = (
                values[(kinds == kind) & (domains == domain)],
                values[(kinds == against) & beside],
            )
        if any(len(planted) and len(other) for planted, other in strata.values()):
            found.append(_detection(kind, against, strata, seed))
    return found


def mark_noise(spans: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Add `noise` to spans of responses: whether more than half of one's characters are planted noise.

    Parameters
    ----------
    spans
        `example_id`, `start` and `stop` in characters of the response.
    truth
        Schema TRUTH; of its rows only those with noise matter.
    """
    noisy = truth.filter(pl.col("kind") == "noise").select(
        "example_id", noise_start="start", noise_stop="stop"
    )
    overlap = pl.min_horizontal("stop", "noise_stop") - pl.max_horizontal("start", "noise_start")
    # The horizontal minimum passes over nulls: a row without noise would overlap with itself.
    is_noise = pl.col("noise_start").is_not_null() & (2 * overlap > pl.col("stop") - pl.col("start"))
    return (
        spans
        .join(noisy, on="example_id", how="left", maintain_order="left")
        .with_columns(noise=is_noise)
        .drop("noise_start", "noise_stop")
    )


def find_spans(spans: pl.DataFrame, seed: int) -> Detection:
    """Return how well influence finds spans of noise inside responses that are else right.

    Parameters
    ----------
    spans
        A row a span of a response: `domain`, `noise`, and its `influence` per token on the queries of its
        domain.
    seed
        Of the interval, over spans of noise.
    """
    strata = {
        str(domain): (
            -here.filter(pl.col("noise"))["influence"].to_numpy(),
            -here.filter(~pl.col("noise"))["influence"].to_numpy(),
        )
        for (domain,), here in spans.group_by("domain", maintain_order=True)
        if here["noise"].any()
    }
    return _detection("noise span", "other spans", strata, seed)


def _detection(
    kind: str, against: str, strata: Mapping[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> Detection:
    """Compare planted and other values, higher ones to be found, domain by domain."""
    places = [_placed(planted, other) for planted, other in strata.values() if len(planted) and len(other)]
    share = np.concatenate([np.zeros(0), *(planted for planted, _ in places)])
    labels = np.concatenate([np.r_[np.ones(len(one)), np.zeros(len(two))] for one, two in places])
    values = np.concatenate([np.r_[one, two] for one, two in places])
    return Detection(
        kind,
        against,
        share_interval(share[:, None], seed),
        float(average_precision_score(labels, values)),
        float(labels.mean()),
    )


def _placed(planted: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of other values that each value is above, ties as a half: alike in all domains."""
    ranks = rankdata(np.r_[planted, other])
    among = rankdata(planted)
    above = (ranks[: len(planted)] - among) / len(other)
    own = (rankdata(other) - 0.5) / len(other)
    return above, own
