"""Words that are rare are drawn to their class, words of one problem are not ranked."""

import numpy as np
import polars as pl
import pytest

from infra_core.attributes.top_words import top_words, word_sums

KEYS = {"group": "math/correct", "domain": "math", "token_class": "connector", "place": 0}


def found(words):
    """What `word_influence` gives, of word → influence a token in each of its problems."""
    return pl.DataFrame([
        KEYS | {"word": word, "problem": f"p{n}", "tokens": 2, "influence": 2.0 * value}
        for word, values in words.items()
        for n, value in enumerate(values)
    ])


def drawn(witnesses, noise=1.0, seed=0):
    """Words whose true means are known, with so many witnesses each."""
    random = np.random.default_rng(seed)
    truth = {f"w{n:02d}": random.normal() for n in range(len(witnesses))}
    pairs = zip(truth.items(), witnesses, strict=True)
    return truth, {word: mean + noise * random.normal(size=many) for (word, mean), many in pairs}


def test_words_of_a_single_problem_are_not_ranked():
    table = top_words([word_sums(found({"so": [0.1, 0.2], "if": [-0.3, -0.1], "hence": [99.0]}))])
    assert set(table["word"]) == {"so", "if"}


def test_a_word_that_few_problems_show_is_drawn_further_to_its_class():
    """The same mean from two problems and from two hundred."""
    _, words = drawn([40] * 20)
    words |= {"few": np.array([3.0, 5.0]), "many": np.tile([3.0, 5.0], 100)}
    table = {row["word"]: row for row in top_words([word_sums(found(words))], most=30).iter_rows(named=True)}
    few, many = table["few"], table["many"]
    assert few["mean"] == pytest.approx(many["mean"]) == pytest.approx(4)
    assert few["influence"] < many["influence"] < 4
    assert few["high"] - few["low"] > many["high"] - many["low"]


def test_shrunk_means_are_nearer_the_truth_and_intervals_hold_it():
    """Over forty classes of thirty words: less error than plain means, and 95 % intervals that cover."""
    plain, shrunk, covered = [], [], []
    for seed in range(40):
        truth, words = drawn([2, 3, 5] * 10, noise=2.0, seed=seed)
        for row in top_words([word_sums(found(words))], most=30).iter_rows(named=True):
            true = truth[row["word"]]
            plain.append((row["mean"] - true) ** 2)
            shrunk.append((row["influence"] - true) ** 2)
            covered.append(row["low"] <= true <= row["high"])
    assert np.mean(shrunk) < 0.6 * np.mean(plain)
    assert (
        np.mean(covered) > 0.9
    )  # the prior is estimated from thirty words, which the interval does not know


def test_words_that_differ_by_chance_alone_are_mostly_not_ranked():
    """Where nothing is there, half of the estimates of spread are zero; what is ranked then is near zero."""
    random = np.random.default_rng(0)
    tables = [
        top_words([word_sums(found({f"w{n}": random.normal(size=10) for n in range(30)}))]) for _ in range(20)
    ]
    assert sum(table.is_empty() for table in tables) >= 5
    assert pl.concat(tables)["influence"].abs().mean() < 0.25


def test_problems_that_lie_in_several_parts_are_one_witness():
    """Parts and their order change nothing."""
    _, words = drawn([4] * 12)
    whole = found(words)
    cut = pl.col("problem").is_in(["p0", "p2"])
    again = top_words([word_sums(whole.filter(cut)), word_sums(whole.filter(~cut))])
    assert again.equals(top_words([word_sums(whole)]))
    twice = top_words([word_sums(whole), word_sums(whole)])
    assert twice["n_problems"].to_list() == again["n_problems"].to_list()


def test_the_most_helpful_come_first_and_both_ends_are_shown():
    words = {f"w{n}": [float(n), n + 0.1, n - 0.1] for n in range(10)}
    table = top_words([word_sums(found(words))], most=3)
    assert table["word"].to_list() == ["w9", "w8", "w7", "w2", "w1", "w0"]


def test_without_words_there_is_nothing_to_rank():
    assert top_words([]).is_empty()
