"""Difficulty: what a source calls it → [0, 1], and bands cut at the corpus's own quantiles. Pure."""

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import polars as pl

from infra_core.corpus.schema import RATINGS, distinct
from infra_core.recipe import RateParams

log = logging.getLogger(__name__)

SPELLED_EXACTLY: Mapping[str, float] = {
    # TACO writes capitals and has five steps
    "EASY": 0.0, "MEDIUM": 0.25, "MEDIUM_HARD": 0.5, "HARD": 0.75, "VERY_HARD": 1.0,
}  # fmt: skip
WORDS: Mapping[str, float] = {
    # LeetCode; the misspelling is real, 21 rows of it
    "easy": 0.0, "medium": 0.5, "meidum": 0.5, "hard": 1.0,
    # APPS
    "introductory": 0.0, "interview": 0.5, "competition": 1.0,
}  # fmt: skip
NOT_STATED = {"", "?", "-", "none", "null", "nan", "n/a", "na", "unknown", "unknown_difficulty", "level ?"}
NUMBER = r"(\d+(?:\.\d+)?)"
# A step on a stated scale: (pattern, steps of the scale or None if the label says how many)
SCALES: Sequence[tuple[re.Pattern[str], int | None]] = (
    (re.compile(rf"level\s*{NUMBER}"), 5),  # MATH
    (re.compile(rf"aime\s*#?\s*{NUMBER}"), 15),  # problem number
    (re.compile(rf"{NUMBER}\s*/\s*{NUMBER}"), None),  # "3/7": step 3 of 7
)
BANDS = ("easy", "medium", "hard")


def label_difficulty(raw: str | None) -> float | None:
    """Return a source's label as a difficulty, 0 easiest and 1 hardest, or None if it says nothing known.

    A step k of n becomes (k − 1)/(n − 1). A bare number has no scale and is None: give it one in the
    mapping, as in ``"{difficulty}/10"``.

    Examples
    --------
    >>> [label_difficulty(label) for label in ("Level 3", "Meidum", "interview", "VERY_HARD", "2/5")]
    [0.5, 0.5, 0.5, 1.0, 0.25]
    >>> [label_difficulty(label) for label in ("Level 4.0", "8", "9/7", "Level ?", None)]
    [0.75, None, None, None, None]
    """
    if raw is None:
        return None
    label = " ".join(raw.split())
    if label in SPELLED_EXACTLY:
        return SPELLED_EXACTLY[label]
    if label.lower() in WORDS:
        return WORDS[label.lower()]
    for pattern, steps in SCALES:
        match = pattern.fullmatch(label.lower())
        if match:
            step, last = float(match[1]), float(steps or match[2])
            return (step - 1) / (last - 1) if 1 <= step <= last and last > 1 else None
    return None


def says_nothing(raw: str | None) -> bool:
    """Whether a label is a way of writing that the difficulty is not known."""
    return raw is None or " ".join(raw.lower().split()) in NOT_STATED


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
            "difficulty %r is not in the table of corpus/difficulty.py: %d rows keep none; "
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
) -> pl.DataFrame:
    """Rate every row of the three pools: its difficulty, its band within its domain, its length.

    Bands are cut on the corpus alone and applied to all three, so that "hard" means the same in each.

    Parameters
    ----------
    corpus, reserve, benchmarks
        `CORPUS` rows.
    params
        Where to cut, as fractions of the corpus rows of a domain.
    count_tokens
        Per row the tokens of the prompt and of the scored response, as `render.token_counter` gives.

    Returns
    -------
    DataFrame
        `RATINGS`, one row for each pool and `example_id`, in the order of the pools.
    """
    pools = {"corpus": corpus, "reserve": reserve, "benchmark": benchmarks}
    measured = {pool: _measured(distinct(frame), pool, count_tokens) for pool, frame in pools.items()}
    if params.unlabelled == "response_length":
        measured = _rated_by_length(measured)
    edges = {
        domain: band_edges(rows["difficulty"], params.bands)
        for (domain,), rows in measured["corpus"].group_by("domain", maintain_order=True)
    }
    return pl.concat(_banded(frame, edges) for frame in measured.values())


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


def band_of(difficulty: float | None, edges: tuple[float, float] | None) -> str | None:
    """Return the band of a difficulty under the edges of its domain; None where either is unknown."""
    if difficulty is None or edges is None:
        return None
    low, high = edges
    return "easy" if difficulty <= low else "hard" if difficulty >= high else "medium"


def _measured(
    frame: pl.DataFrame, pool: str, count_tokens: Callable[[pl.DataFrame], Iterable[tuple[int, int]]]
) -> pl.DataFrame:
    lengths = list(count_tokens(frame))
    return frame.with_columns(
        pl.lit(pool).alias("pool"),
        pl.Series("prompt_tokens", [prompt for prompt, _ in lengths], dtype=pl.Int32),
        pl.Series("response_tokens", [response for _, response in lengths], dtype=pl.Int32),
    )


def _rated_by_length(pools: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Rate rows of domains without any label in the corpus: the share of corpus rows that are shorter.

    Of the cheap signs of difficulty the length of a reasoning trace follows a human label best (Spearman
    0.66 with the MATH level, against 0.55 for its summed NLL); what it measures is still length.
    """
    corpus = pools["corpus"]
    ranked = {
        domain: rows["response_tokens"].sort()
        for (domain,), rows in corpus.group_by("domain", maintain_order=True)
        if rows["difficulty"].null_count() == len(rows)
    }

    def rated(frame: pl.DataFrame) -> pl.DataFrame:
        def value(domain: str, tokens: int, difficulty: float | None) -> float | None:
            if domain not in ranked:
                return difficulty
            # A question without a reference answer has no length to go by.
            return ranked[domain].search_sorted(tokens) / len(ranked[domain]) if tokens else None

        values = [
            value(domain, tokens, difficulty)
            for domain, tokens, difficulty in frame.select(
                "domain", "response_tokens", "difficulty"
            ).iter_rows()
        ]
        by_length = pl.col("domain").is_in(list(ranked))
        return frame.with_columns(
            pl.Series("difficulty", values, dtype=pl.Float32),
            pl
            .when(by_length)
            .then(pl.lit("response_length"))
            .otherwise("difficulty_method")
            .alias("difficulty_method"),
        )

    return {pool: rated(frame) for pool, frame in pools.items()}


def _banded(frame: pl.DataFrame, edges: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    pairs = zip(frame["domain"], frame["difficulty"], strict=True)
    bands = [band_of(value, edges.get(domain)) for domain, value in pairs]
    return frame.with_columns(pl.Series("band", bands, dtype=pl.String)).select(RATINGS.keys())
