"""Influence by class of token and by word: what kinds of tokens teach, and which words most clearly."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from infra_core.attributes.clusters import interval, resampled
from infra_core.attributes.places import RESAMPLES, means_by, means_schema, place_at, sum_columns
from infra_core.errors import AlignmentError
from infra_core.seeds import generator

CLASS, WORDS = "token_class", "n_words"
TOKENS = means_schema(CLASS, WORDS)

AGREEMENT = {
    "group": pl.String(),  # of queries
    "domain": pl.String(),
    "spearman": pl.Float64(),  # of a response's tokens under two rules, averaged over responses
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_examples": pl.Int32(),
    "n_problems": pl.Int32(),  # clusters of the interval
}

PAIR = ["example_id", "group"]
_AGREED = {"group": pl.String(), "domain": pl.String(), "problem": pl.String(), "spearman": pl.Float64()}


def word_influence(words: pl.DataFrame, scores: pl.DataFrame, examples: pl.DataFrame) -> pl.DataFrame:
    """Sum the influence of the tokens of every word, of one part.

    Parameters
    ----------
    words
        `corpus.schema.TOKENED`.
    scores
        `example_id`, `group` and `tokens` of SCORES.
    examples
        `example_id`, `domain` and `problem` of those that count.

    Returns
    -------
    DataFrame
        `group`, `domain`, `problem`, `token_class`, `word`, `place`, `tokens` and `influence`: a row a word
        of a response and query group. Names are categories.
    """
    # As codes: names are compared far more often than they differ.
    words = words.with_columns(pl.col(CLASS, "word").cast(pl.Categorical))
    named = examples.with_columns(pl.col("domain", "problem").cast(pl.Categorical))
    pairs = response_tokens(words, scores.with_columns(pl.col("group").cast(pl.Categorical)), named)
    # Words of an example tile its tokens, so where they begin says where they end.
    begin = pl.col("tokens").list.len().cum_sum() - pl.col("tokens").list.len()
    found = pairs.select(pl.exclude("tokens"), begin=begin).join(
        words, on="example_id", how="inner", maintain_order="left_right"
    )
    if found.is_empty():
        values = np.zeros(0)
    else:
        flat = pairs["tokens"].explode().to_numpy().astype(np.float64)
        values = np.add.reduceat(flat, (found["begin"] + found["first"]).to_numpy())
    return found.select(
        *("group", "domain", "problem", CLASS, "word"),
        pl.col("tokens").cast(pl.Int64),
        place=place_at(pl.col("first") + pl.col("tokens") / 2, pl.col("of")),
        influence=pl.Series(values, dtype=pl.Float64),
    )


def response_tokens(words: pl.DataFrame, scores: pl.DataFrame, examples: pl.DataFrame) -> pl.DataFrame:
    """Return scores of the tokens that a response's text has, `of` how many there are, and whose they are.

    Raises
    ------
    AlignmentError
        If an example has fewer scores than tokens: they are of another tokenizer.
    """
    lengths = words.group_by("example_id").agg(of=pl.col("tokens").cast(pl.Int64).sum())
    found = (
        scores
        .unique(PAIR, keep="first", maintain_order=True)
        .join(lengths, on="example_id", how="inner", maintain_order="left")
        .join(examples, on="example_id", how="inner", maintain_order="left")
    )
    # Behind the prompt's, and before the one that ends the response.
    first = pl.col("tokens").list.len().cast(pl.Int64) - pl.col("of") - 1
    if (short := found.filter(first < 0)).height:
        name, of, scored = short.select("example_id", "of", pl.col("tokens").list.len()).row(0)
        raise AlignmentError(
            f"example {name} has scores of {scored} tokens, its response alone {of} and an end; give words "
            "cut by the tokenizer of the scores"
        )
    return found.with_columns(pl.col("tokens").list.slice(first, pl.col("of")))


def class_sums(found: pl.DataFrame) -> pl.DataFrame:
    """Sum `word_influence` by group, domain, problem, class and place."""
    return found.group_by(sum_columns(CLASS)).agg(
        pl.col("influence", "tokens").sum(), n_words=pl.len().cast(pl.Int64)
    )


def classes(parts: Iterable[pl.DataFrame], *, seed: int, resamples: int = RESAMPLES) -> pl.DataFrame:
    """Average what `class_sums` found, part by part, as `places.means_by` says; schema `TOKENS`."""
    return means_by(CLASS, WORDS, parts, seed=seed, name="tokens", resamples=resamples)


def agreements(
    words: pl.DataFrame, scores: pl.DataFrame, others: pl.DataFrame, examples: pl.DataFrame
) -> pl.DataFrame:
    """Return the rank correlation of each response's tokens in two sets of scores, of one part.

    Parameters
    ----------
    words, examples
        As of `word_influence`.
    scores, others
        `example_id`, `group` and `tokens` of the same pairs.

    Returns
    -------
    DataFrame
        `group`, `domain`, `problem` and `spearman`; none for a response whose tokens are all alike.
    """
    ours, theirs = (response_tokens(words, found, examples) for found in (scores, others))
    both = ours.join(theirs.select(*PAIR, other="tokens"), on=PAIR, how="inner", maintain_order="left")
    told = both.explode("tokens", "other").group_by(*PAIR, "domain", "problem", maintain_order=True)
    found = told.agg(spearman=pl.corr("tokens", "other", method="spearman").cast(pl.Float64))
    return found.filter(pl.col("spearman").is_finite()).select("group", "domain", "problem", "spearman")


def rule_agreement(parts: Iterable[pl.DataFrame], *, seed: int, resamples: int = RESAMPLES) -> pl.DataFrame:
    """Average what `agreements` found, with intervals over problems; schema `AGREEMENT`."""
    keys = ["group", "domain"]
    told = (
        pl
        .concat([pl.DataFrame(schema=_AGREED), *parts])
        .group_by(*keys, "problem")
        .agg(pl.col("spearman").sum(), examples=pl.len().cast(pl.Float64))
    )
    rows = []
    for (group, domain), own in told.sort(*keys, "problem").group_by(keys, maintain_order=True):
        draw = generator(seed, "agreement", str(group), str(domain))
        drawn = resampled(own.select("spearman", "examples").to_numpy(), draw, resamples)
        means = drawn[:, 0] / drawn[:, 1]
        bounds = interval(means) if own.height > 1 else (None, None)
        rows.append((group, domain, float(means[0]), *bounds, int(own["examples"].sum()), own.height))
    return pl.DataFrame(rows, schema=AGREEMENT, orient="row")
