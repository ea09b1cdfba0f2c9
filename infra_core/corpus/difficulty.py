"""How hard every row is: by its source's label, by the model's own pass rate, or by length. Pure.

Bands are cut at the corpus's own quantiles.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from infra_core.corpus.labels import label_difficulty, says_nothing
from infra_core.corpus.schema import AGREEMENT, PASS_RATES, RATINGS, distinct
from infra_core.recipe import RateParams
from infra_core.seeds import generator

log = logging.getLogger(__name__)

BANDS = ("easy", "medium", "hard")


def with_difficulty(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `difficulty` and `difficulty_method` to rows with `difficulty_raw`.

    A label that nobody maps leaves the row without a difficulty; it is logged once with its count, and
    stays visible as a row with `difficulty_raw` but no `difficulty`.
    """
    labels = frame["difficulty_raw"].to_list()
    values = [label_difficulty(label) for label in labels]
    unknown = Counter(
        label
        for label, value in zip(labels, values, strict=True)
        if value is None and not says_nothing(label)
    )
    for label, rows in sorted(unknown.items()):
        log.warning(
            "difficulty %r is not in the table of corpus/labels.py: %d rows keep none; "
            "a number needs its scale, as in mapping.difficulty: '{column}/10'",
            label[:80],
            rows,
        )
    difficulty = pl.Series("difficulty", values, dtype=pl.Float32)
    return frame.with_columns(
        difficulty,
        pl.when(difficulty.is_not_null()).then(pl.lit("label")).alias("difficulty_method"),
    )


def rate(
    corpus: pl.DataFrame,
    reserve: pl.DataFrame,
    benchmarks: pl.DataFrame,
    params: RateParams,
    count_tokens: Callable[[pl.DataFrame], Iterable[tuple[int, int]]],
    pass_rates: Mapping[str, pl.DataFrame] | None = None,
) -> pl.DataFrame:
    """Rate every row of the three pools: its difficulty, its band within its domain, its length.

    Bands are cut on the corpus alone and applied to all three, so that "hard" means the same in each.

    Parameters
    ----------
    corpus, reserve, benchmarks
        `CORPUS` rows, or their `example_id`, `domain`, `source`, `difficulty` and `difficulty_method`.
    params
        What difficulty is, and where to cut, as fractions of the corpus rows of a domain.
    count_tokens
        Per row the tokens of the prompt and of the scored response, as `render.token_counter` gives.
    pass_rates
        By pool (corpus, reserve, benchmark) PASS_RATES, where the model tried the problems.

    Returns
    -------
    DataFrame
        `RATINGS`, one row for each pool and `example_id`, in the order of the pools.
    """
    pools = {"corpus": corpus, "reserve": reserve, "benchmark": benchmarks}
    measured = {pool: _measured(distinct(frame), pool, count_tokens) for pool, frame in pools.items()}
    by_rate = params.method == "pass_rate" or params.unlabelled == "pass_rate"
    if by_rate:
        domains = _unlabelled(measured["corpus"]) if params.method == "label" else None
        measured = {
            pool: _rated_by_passes(frame, (pass_rates or {}).get(pool), domains)
            for pool, frame in measured.items()
        }
    if params.unlabelled == "response_length":
        measured = _rated_by_length(measured)
    edges = pl.DataFrame(
        [
            (domain, *band_edges(rows["difficulty"], params.bands))
            for (domain,), rows in measured["corpus"].group_by("domain", maintain_order=True)
        ],
        schema={"domain": pl.String(), "low": pl.Float64(), "high": pl.Float64()},
        orient="row",
    )
    return pl.concat(_banded(frame, edges) for frame in measured.values())


def agreement(
    corpus: pl.DataFrame, pass_rates: pl.DataFrame, *, seed: int, resamples: int = 1000
) -> pl.DataFrame:
    """Say how far a source's labels and the model's own pass rate order the rows of a domain alike.

    Parameters
    ----------
    corpus
        `example_id`, `domain`, `difficulty` by label, and `group`, for clusters of the interval.
    pass_rates
        Schema PASS_RATES.
    seed
        Of the bootstrap over problems.
    resamples
        Bootstrap samples.

    Returns
    -------
    DataFrame
        AGREEMENT: Spearman's rank correlation of label and 1 − pass rate, a row a domain. It is null where
        all rows are alike in one of the two.
    """
    rows = (
        distinct(corpus)
        .filter(pl.col("difficulty").is_not_null())
        .join(
            pass_rates.unique("example_id", keep="first"), on="example_id", how="inner", maintain_order="left"
        )
        .with_columns(problem=pl.coalesce("group", "example_id"), tried=1 - pl.col("pass_rate"))
    )
    found = []
    for (domain,), here in rows.sort("domain", "example_id").group_by("domain", maintain_order=True):
        _, cluster = np.unique(here["problem"].to_numpy(), return_inverse=True)
        count, pair = int(cluster.max()) + 1, here.select("difficulty", "tried").to_numpy()
        random = generator(seed, "agreement", str(domain))
        times = (random.multinomial(count, np.full(count, 1 / count))[cluster] for _ in range(resamples))
        value, *drawn = (_spearman(pair, each) for each in (np.ones_like(cluster), *times))
        known = [one for one in drawn if one is not None]
        bounds = np.quantile(known, [0.025, 0.975]).tolist() if value is not None and known else (None, None)
        found.append((domain, value, *bounds, here.height, count))
    return pl.DataFrame(found, schema=pl.Schema(AGREEMENT), orient="row")


def _spearman(pair: np.ndarray, times: np.ndarray) -> float | None:
    """Return the rank correlation of two columns whose rows count so often; None where one is constant."""
    rows = np.repeat(pair, times, axis=0)
    if np.ptp(rows, axis=0).min() == 0:
        return None
    ranks = pl.from_numpy(rows, schema=["label", "tried"]).select(pl.all().rank())
    return float(ranks.select(pl.corr("label", "tried")).item())


def band_edges(difficulty: pl.Series, cuts: tuple[float, float]) -> tuple[float, float]:
    """Return (highest easy, lowest hard) difficulty; what lies between is medium.

    Rows of equal difficulty are never parted. Of the places between distinct values the two nearest to
    the wanted fractions are taken, under the condition that no band stays empty while there are three
    values to fill them; two values are easy and hard; a single one is medium. Ties go to the lower place.

    Examples
    --------
    >>> band_edges(pl.Series([0.0] * 8 + [0.5, 1.0]), (1 / 3, 2 / 3))
    (0.0, 1.0)
    >>> band_edges(pl.Series([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), (1 / 3, 2 / 3))
    (0.2, 0.5)
    """
    values = sorted(Counter(difficulty.drop_nulls().to_list()).items())
    points, counts = [point for point, _ in values], [count for _, count in values]
    if len(points) < 2:
        return -math.inf, math.inf
    if len(points) == 2:
        return points[0], points[1]
    total, below, shares = sum(counts), 0, []
    for count in counts:
        below += count
        shares.append(below / total)

    def nearest(places: range, wanted: float) -> int:
        return min(places, key=lambda place: (round(abs(shares[place] - wanted), 12), place))

    last = len(points) - 1
    low = nearest(range(last - 1), cuts[0])
    high = nearest(range(low + 1, last), cuts[1])
    return points[low], points[high + 1]


def band(difficulty: pl.Expr, low: pl.Expr, high: pl.Expr) -> pl.Expr:
    """Return the band of a difficulty under the edges of its domain; null where either is unknown."""
    between = difficulty.is_not_null() & low.is_not_null()
    return (
        pl
        .when(difficulty <= low)
        .then(pl.lit("easy"))
        .when(difficulty >= high)
        .then(pl.lit("hard"))
        .when(between)
        .then(pl.lit("medium"))
    )


def _measured(
    frame: pl.DataFrame, pool: str, count_tokens: Callable[[pl.DataFrame], Iterable[tuple[int, int]]]
) -> pl.DataFrame:
    lengths = pl.DataFrame(
        list(count_tokens(frame)),
        schema={"prompt_tokens": pl.Int32(), "response_tokens": pl.Int32()},
        orient="row",
    )
    return frame.with_columns(pl.lit(pool).alias("pool"), *lengths)


def _unlabelled(corpus: pl.DataFrame) -> list[str]:
    """Return the domains of which no corpus row has a label."""
    labelled = corpus.filter(pl.col("difficulty").is_not_null())["domain"].unique()
    return corpus.filter(~pl.col("domain").is_in(labelled.to_list()))["domain"].unique().to_list()


def _rated_by_passes(
    frame: pl.DataFrame, pass_rates: pl.DataFrame | None, domains: Sequence[str] | None
) -> pl.DataFrame:
    """Make difficulty the share of its own draws that the model got wrong, in some domains or in all.

    A row that could not be judged or was not tried has none then: its label is on another scale.
    """
    known = pl.DataFrame(schema=pl.Schema(PASS_RATES)) if pass_rates is None else pass_rates
    tried = known.unique("example_id", keep="first").select("example_id", "pass_rate")
    here = pl.lit(True) if domains is None else pl.col("domain").is_in(list(domains))
    wrong = (1 - pl.col("pass_rate")).cast(pl.Float32())
    method = pl.when(wrong.is_not_null()).then(pl.lit("pass_rate"))
    return frame.join(tried, on="example_id", how="left", maintain_order="left").with_columns(
        difficulty=pl.when(here).then(wrong).otherwise("difficulty"),
        difficulty_method=pl.when(here).then(method).otherwise("difficulty_method"),
    )


def _rated_by_length(pools: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Rate rows of domains without any label in the corpus: the share of corpus rows that are shorter.

    Of the cheap signs of difficulty the length of a reasoning trace follows a human label best (Spearman
    0.66 with the MATH level, against 0.55 for its summed NLL); what it measures is still length.
    """
    corpus = pools["corpus"]
    ranked = {
        domain: corpus.filter(pl.col("domain") == domain)["response_tokens"].sort()
        for domain in _unlabelled(corpus)
    }

    def rated(frame: pl.DataFrame) -> pl.DataFrame:
        share = pl.lit(None, dtype=pl.Float32())
        for domain, lengths in ranked.items():
            places = lengths.search_sorted(frame["response_tokens"], side="left") / len(lengths)
            # A question without a reference answer has no length to go by.
            here = (pl.col("domain") == domain) & (pl.col("response_tokens") > 0)
            share = pl.when(here).then(pl.lit(places)).otherwise(share)
        by_length = pl.col("domain").is_in(list(ranked))
        return frame.with_columns(
            difficulty=pl.when(by_length).then(share).otherwise("difficulty").cast(pl.Float32()),
            difficulty_method=pl
            .when(by_length)
            .then(pl.lit("response_length"))
            .otherwise("difficulty_method"),
        )

    return {pool: rated(frame) for pool, frame in pools.items()}


def _banded(frame: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    known = frame.join(edges, on="domain", how="left", maintain_order="left")
    return known.with_columns(band=band(*map(pl.col, ("difficulty", "low", "high")))).select(RATINGS.keys())
