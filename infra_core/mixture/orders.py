"""Orders of rows, best first, each by one idea of what makes a row worth having. Ties go by example_id."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from infra_core.mixture.evidence import total_benefit

ROUNDS = 100
"""In how many goes `coverage` fills its order: gains are worked out anew for each."""


def by_benefit(rows: pl.DataFrame, benefit: pl.DataFrame, spread: str) -> pl.DataFrame:
    """Return the rows that have a benefit, best first.

    Parameters
    ----------
    rows
        Candidates: `pool`, `example_id`, `problem`.
    benefit
        Schema BENEFIT.
    spread
        ``sum`` over query groups; ``round_robin``: groups choose in turn; ``coverage``: the more a group has
        the less another row for it counts, and the second response to a problem counts half, the third a
        third.
    """
    keys = ["pool", "example_id"]
    if spread == "sum":
        known = rows.join(total_benefit(benefit), on=keys, how="inner")
        return known.sort("benefit", "example_id", descending=[True, False]).drop("benefit")
    wide = benefit.pivot("group", index=keys, values="benefit", sort_columns=True)
    known = rows.join(wide, on=keys, how="inner").sort("example_id")
    judged = known.select(pl.exclude(*rows.columns))
    # A group that has no say in these rows has no turn either.
    values = judged.select(column for column in judged if column.null_count() < len(column)).to_numpy()
    order = in_turn(values) if spread == "round_robin" else _by_coverage(values, known["problem"].to_numpy())
    return known[order].select(rows.columns)


def in_turn(values: np.ndarray) -> np.ndarray:
    """Return the order in which columns choose rows in turn, each the highest of its own that is left.

    Examples
    --------
    >>> in_turn(np.array([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 0.5]])).tolist()
    [0, 2, 1, 3]
    """
    rows, columns = values.shape
    wishes = np.argsort(-values, axis=0, kind="stable").T.tolist()
    taken, at = [False] * rows, [0] * columns
    order: list[int] = []
    while len(order) < rows:
        for column, wish in enumerate(wishes):
            while at[column] < rows and taken[wish[at[column]]]:
                at[column] += 1
            if at[column] < rows:
                taken[wish[at[column]]] = True
                order.append(wish[at[column]])
    return np.array(order, dtype=np.int64)


def _by_coverage(values: np.ndarray, problems: np.ndarray) -> np.ndarray:
    """Order rows so that Σ over columns of √(what was chosen so far) grows fastest, in a hundred goes.

    Harm counts in full: a column's harm is taken off as it is.
    """
    worth = values / _turn_within(values.sum(axis=1), problems)[:, None]
    covered = np.zeros(values.shape[1])
    left = np.arange(len(values))
    order: list[np.ndarray] = []
    for go in range(ROUNDS):
        if not len(left):
            break
        help_, harm = np.maximum(worth[left], 0), np.minimum(worth[left], 0)
        gain = (np.sqrt(covered + help_) - np.sqrt(covered) + harm).sum(axis=1)
        best = np.argsort(-gain, kind="stable")[: -(-len(left) // (ROUNDS - go))]
        order.append(left[best])
        covered = covered + np.maximum(worth[left[best]], 0).sum(axis=0)
        left = np.delete(left, best)
    return np.concatenate(order) if order else left


def _turn_within(values: np.ndarray, problems: np.ndarray) -> np.ndarray:
    """Return of each row its turn among the rows of its problem, 1 for the one of the highest value."""
    frame = pl.DataFrame({"problem": problems, "value": values})
    return (
        frame.select(pl.col("value").rank("ordinal", descending=True).over("problem")).to_series().to_numpy()
    )


def by_perplexity(rows: pl.DataFrame, perplexity: pl.DataFrame, keep: str) -> pl.DataFrame:
    """Return the rows whose perplexity is known, by where it stands among corpus rows of their domain.

    Parameters
    ----------
    rows
        Candidates of one domain: `pool`, `example_id`, `domain`.
    perplexity
        `pool`, `example_id`, `domain`, `nll_per_token`.
    keep
        ``mid``: nearest to the median first; ``top``: highest first.
    """
    known = rows.join(perplexity, on=["pool", "example_id", "domain"], how="inner")
    values = known["nll_per_token"].to_numpy()
    here = pl.col("domain").is_in(rows["domain"].unique().to_list())
    corpus = perplexity.filter(here, pl.col("pool") == "corpus")["nll_per_token"].sort().to_numpy()
    below, upto = (np.searchsorted(corpus, values, side=side) for side in ("left", "right"))
    share = (below + upto) / 2 / max(len(corpus), 1)  # of equals the middle place
    last = pl.Series("last", np.abs(share - 0.5) if keep == "mid" else -values)
    return known.with_columns(last).sort("last", "example_id").select(rows.columns)


def by_nearness(
    rows: pl.DataFrame, nearness: pl.DataFrame, query_domains: Sequence[str], domain: str
) -> pl.DataFrame:
    """Return the rows that were embedded, as queries choose them in turn, each the one nearest to it.

    Queries of the rows' own domain choose, or all where it has none. RDS+ [1]_, with embeddings of the model
    before fine-tuning.

    References
    ----------
    .. [1] Ivison et al. 2025, "Large-Scale Data Selection for Instruction Tuning", arXiv:2503.01807.
    """
    known = rows.join(nearness, on=["pool", "example_id"], how="inner").sort("example_id")
    cosines = known["cosines"].to_numpy().reshape(known.height, len(query_domains))
    own = [column for column, name in enumerate(query_domains) if name == domain]
    return known[in_turn(cosines[:, own or slice(None)])].select(rows.columns)
