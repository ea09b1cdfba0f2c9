"""Which words help or harm most, each drawn towards others of its class as far as few problems show it."""

from collections.abc import Iterable

import polars as pl
from scipy.special import ndtri

from infra_core.attributes.clusters import LEVEL, in_order

TOP_WORDS = {
    "group": pl.String(),  # of queries
    "domain": pl.String(),
    "token_class": pl.String(),
    "word": pl.String(),
    "n_words": pl.Int64(),  # how often it stands in responses
    "n_problems": pl.Int64(),  # that have it: the witnesses
    "mean": pl.Float64(),  # nats a token, over problems as they are
    "influence": pl.Float64(),  # nats a token, shrunk
    "low": pl.Float64(),
    "high": pl.Float64(),
}
MOST = 8
"""Words of a domain and query group that are shown at either end."""

_ENDS = ["group", "domain"]
_OWN = ["token_class", "word", "problem"]
_NAMES = [*_ENDS, *_OWN]


def word_sums(found: pl.DataFrame) -> pl.DataFrame:
    """Sum `tokens.word_influence` of one part by word and problem, in little memory."""
    return (
        found
        .with_columns(pl.col(_NAMES).cast(pl.Categorical))
        .group_by(_NAMES)
        .agg(pl.col("influence").sum(), pl.col("tokens").sum(), n_words=pl.len().cast(pl.Int64))
    )


def top_words(parts: Iterable[pl.DataFrame], *, most: int = MOST) -> pl.DataFrame:
    r"""Return the most helpful and the most harmful words of each domain and query group.

    Each problem is one witness: its mean of the word's tokens, :math:`y`. Of the words of a class, domain
    and group it is assumed that :math:`y \sim N(\mu_w, \sigma^2)` and :math:`\mu_w \sim N(\mu, \tau^2)`;
    all three are estimated by one-way analysis of variance with random effects (empirical Bayes). A word is
    ranked by the mean of :math:`\mu_w` given its :math:`k` witnesses, :math:`\mu + w (\bar y - \mu)` with
    :math:`w = \tau^2 / (\tau^2 + \sigma^2 / k)`, whose variance, :math:`w \sigma^2 / k`, gives the interval.
    Words of one problem are not ranked, nor those of a class whose words differ no more than chance would
    make them.

    Parameters
    ----------
    parts
        What `word_sums` found, part by part.
    most
        Words at either end.

    Returns
    -------
    DataFrame
        `TOP_WORDS`, by group and domain, the most helpful first.
    """
    frames = [frame for frame in parts if frame.height]
    if not frames:
        return pl.DataFrame(schema=TOP_WORDS)
    sums = pl.concat(frames)
    found = []
    # One after the other, since sums of all words of all problems are held but once.
    for ends in sums.select(_ENDS).unique().cast(pl.String()).sort(_ENDS).iter_rows(named=True):
        ranked = _shrunk(_seen(sums.filter(**ends)))
        found.append(_ends(ranked.with_columns(**{name: pl.lit(end) for name, end in ends.items()}), most))
    return pl.concat(found)


def _seen(sums: pl.DataFrame) -> pl.DataFrame:
    """Return the words of a domain that several problems have, with the mean and the squares of these."""
    value = pl.col("influence") / pl.col("tokens")
    by_problem = sums.group_by(_OWN).agg(pl.col("influence", "tokens", "n_words").sum())
    return (
        in_order(by_problem, *_OWN)
        .group_by("token_class", "word", maintain_order=True)
        .agg(
            pl.col("n_words").sum(),
            n_problems=pl.len().cast(pl.Int64),
            mean=value.mean(),
            squares=((value - value.mean()) ** 2).sum(),
        )
        .filter(pl.col("n_problems") > 1)
        .with_columns(pl.col("token_class", "word").cast(pl.String))
    )


def _ends(ranked: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return so many words at either end, the most helpful first."""
    ordered = ranked.sort("influence", "word", descending=[True, False])
    place = pl.int_range(pl.len())
    at_an_end = (place < most) | (place >= pl.len() - most)
    return ordered.filter(at_an_end).select(*TOP_WORDS).cast(pl.Schema(TOP_WORDS))


def _shrunk(seen: pl.DataFrame) -> pl.DataFrame:
    """Add `influence`, `low` and `high`, and leave out what cannot be ranked."""
    k, mean, centre, noise, weight = map(pl.col, ("n_problems", "mean", "centre", "noise", "weight"))
    others = pl.len() - 1
    known = seen.with_columns(
        centre=((mean * k).sum() / k.sum()).over("token_class"),
        noise=(pl.col("squares").sum() / (k - 1).sum()).over("token_class"),
        witnesses=((k.sum() - (k**2).sum() / k.sum()) / others).over("token_class"),
        others=others.over("token_class"),
    ).with_columns(between=((k * (mean - centre) ** 2).sum() / others).over("token_class"))
    spread = ((pl.col("between") - noise) / pl.col("witnesses")).clip(0)
    alone = pl.col("others") == 0  # a word without others of its class has nothing to be drawn to
    reach = ndtri((1 + LEVEL) / 2) * (weight * noise / k).sqrt()
    return (
        known
        .with_columns(weight=pl.when(alone).then(1.0).otherwise(spread / (spread + noise / k)))
        .filter(weight.is_finite(), weight > 0)
        .with_columns(influence=centre + weight * (mean - centre))
        .with_columns(low=pl.col("influence") - reach, high=pl.col("influence") + reach)
    )
