"""Fifths of length and perplexity against plain loops."""

import numpy as np
import polars as pl
import pytest

from infra_core.attributes.strata import LENGTH, PERPLEXITY, strata
from infra_core.corpus.schema import RATINGS

GROUP = "math/correct"


def world(examples=100, seed=0):
    """Examples that are more helpful the more perplexing they are, whatever their length."""
    random = np.random.default_rng(seed)
    names = [f"e{n:03d}" for n in range(examples)]
    perplexity = np.exp(random.normal(size=examples))
    lengths = random.integers(10, 200, size=examples)
    ratings = pl.DataFrame(
        [
            (name, "corpus", "math", "ours", None, None, None, 5, int(n))
            for name, n in zip(names, lengths, strict=True)
        ],
        schema=pl.Schema(RATINGS),
        orient="row",
    )
    scores = pl.DataFrame({"example_id": names, "group": [GROUP] * examples, "influence": np.log(perplexity)})
    problems = pl.DataFrame({"example_id": names, "group": [f"p{n // 2}" for n in range(examples)]})
    return scores, ratings, pl.DataFrame({"example_id": names, "perplexity": perplexity}), problems


def test_each_fifth_is_the_mean_of_its_examples():
    scores, ratings, perplexities, problems = world()
    table = strata(scores, ratings, perplexities, problems, seed=0, resamples=100)
    for attribute, column, values in (
        (PERPLEXITY, "perplexity", perplexities["perplexity"].to_numpy()),
        (LENGTH, "response_tokens", ratings["response_tokens"].to_numpy()),
    ):
        rows = table.filter(pl.col("attribute") == attribute)
        assert rows["stratum"].to_list() == [1, 2, 3, 4, 5], column
        assert rows["n_examples"].sum() == 100
        for row in rows.iter_rows(named=True):
            inside = (values >= row["least"]) & (values <= row["most"])
            influence = scores["influence"].to_numpy()[inside]
            tokens = ratings["response_tokens"].to_numpy()[inside]
            assert row["influence"] == pytest.approx(influence.mean())
            assert row["influence_per_token"] == pytest.approx(influence.sum() / tokens.sum())
            assert row["low"] <= row["influence"] <= row["high"]


def test_what_goes_with_perplexity_is_seen_there_and_not_in_length():
    table = strata(*world(400), seed=0, resamples=200)
    by_perplexity, by_length = (table.filter(pl.col("attribute") == name) for name in (PERPLEXITY, LENGTH))
    assert by_perplexity["high"][0] < 0 < by_perplexity["low"][4]
    assert by_length["low"].max() < by_length["high"].min()


def test_equal_values_are_in_one_fifth():
    scores, ratings, perplexities, problems = world()
    alike = ratings.with_columns(response_tokens=pl.lit(7, dtype=pl.Int32))
    table = strata(scores, alike, perplexities, problems, seed=0, resamples=10)
    lengths = table.filter(pl.col("attribute") == LENGTH)
    assert lengths.select("stratum", "least", "most", "n_examples").rows() == [(1, 7.0, 7.0, 100)]


def test_an_example_without_perplexity_is_in_no_fifth_of_it():
    scores, ratings, perplexities, problems = world()
    table = strata(scores, ratings, perplexities.head(10), problems, seed=0, resamples=10)
    counts = table.group_by("attribute").agg(pl.col("n_examples").sum())
    assert dict(counts.iter_rows()) == {LENGTH: 100, PERPLEXITY: 10}
