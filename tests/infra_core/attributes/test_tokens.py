"""Influence of words against plain loops; rules that agree and rules that do not."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from infra_core.attributes.tokens import (
    TOKENS,
    agreements,
    class_sums,
    classes,
    rule_agreement,
    word_influence,
)
from infra_core.corpus.schema import TOKENED
from infra_core.errors import AlignmentError

GROUPS = ("math/correct", "code/correct")
PROMPT = 4
KINDS = ("connector", "operator", "other")


def world(examples=40, seed=0, influence_of=lambda kind, random: random.normal()):
    """Words, scores and examples, where `influence_of(kind, random)` is a token's."""
    random = np.random.default_rng(seed)
    words, scores, known = [], [], []
    for number in range(examples):
        name, first, values = f"e{number:03d}", 0, []
        for _ in range(12):
            kind, size = KINDS[random.integers(3)], int(random.integers(1, 4))
            words.append((name, kind, f"{kind} {random.integers(4)}", first, size))
            values.extend(influence_of(kind, random) for _ in range(size))
            first += size
        scores += [(name, group, [9.0] * PROMPT + values + [7.0]) for group in GROUPS]
        known.append((name, "math", f"problem {number // 2}"))
    return (
        pl.DataFrame(words, schema=pl.Schema(TOKENED), orient="row"),
        pl.DataFrame(
            scores,
            schema={"example_id": pl.String(), "group": pl.String(), "tokens": pl.List(pl.Float32())},
            orient="row",
        ),
        pl.DataFrame(known, schema=["example_id", "domain", "problem"], orient="row"),
    )


def test_a_words_influence_is_that_of_its_own_tokens():
    """Neither the prompt's nor that of the end, in whatever order rows come."""
    words, scores, known = world()
    found = word_influence(words, scores.reverse(), known)
    own = {name: values[PROMPT:-1] for name, _, values in scores.iter_rows()}
    problems = dict(known.select("example_id", "problem").iter_rows())
    expected = {}
    for name, kind, _, first, size in words.iter_rows():
        key = problems[name], kind
        expected[key] = expected.get(key, 0.0) + sum(own[name][first : first + size])
    for group in GROUPS:
        sums = (
            found
            .filter(pl.col("group") == group)
            .group_by("problem", "token_class")
            .agg(pl.col("influence").sum())
        )
        for problem, kind, value in sums.iter_rows():
            assert value == pytest.approx(expected[problem, kind], rel=1e-5, abs=1e-6)


def test_classes_are_told_apart_where_they_differ():
    """Connectors help, the rest does not: means, shares, and intervals that hold them."""
    words, scores, known = world(
        200, influence_of=lambda kind, random: (kind == "connector") + 0.1 * random.normal()
    )
    found = classes([class_sums(word_influence(words, scores, known))], seed=0, resamples=200)
    assert found.schema == pl.Schema(TOKENS)
    for group in GROUPS:
        rows = {
            row["token_class"]: row for row in found.filter(pl.col("group") == group).iter_rows(named=True)
        }
        assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
        assert rows["connector"]["low"] < 1 < rows["connector"]["high"] + 0.02
        assert rows["operator"]["low"] < 0.01
        assert rows["connector"]["low_beyond_place"] > 0 > rows["other"]["high_beyond_place"]


def test_scores_of_another_tokenizer_are_refused():
    """Their tokens would be put down to the wrong words."""
    words, scores, known = world()
    short = scores.with_columns(pl.col("tokens").list.head(5))
    with pytest.raises(AlignmentError, match="cut by the tokenizer of the scores"):
        word_influence(words, short, known)


def test_agreement_is_the_mean_rank_correlation_within_responses():
    """By SciPy, response by response; a problem's responses are drawn together."""
    words, scores, known = world()
    _, others, _ = world(seed=0, influence_of=lambda kind, random: random.normal())
    random = np.random.default_rng(1)
    noisy = others.with_columns(
        tokens=pl.Series(
            [[v + float(random.normal()) for v in values] for values in others["tokens"]],
            dtype=pl.List(pl.Float32),
        )
    )
    found = rule_agreement([agreements(words, scores, noisy, known)], seed=0, resamples=200)
    pairs = zip(scores.iter_rows(), noisy.iter_rows(), strict=True)
    exact = [
        spearmanr(ours[2][PROMPT:-1], theirs[2][PROMPT:-1]).statistic
        for ours, theirs in pairs
        if ours[1] == GROUPS[0]
    ]
    row = found.filter(pl.col("group") == GROUPS[0]).row(0, named=True)
    assert row["spearman"] == pytest.approx(np.mean(exact))
    assert row["low"] < row["spearman"] < row["high"]
    assert (row["n_examples"], row["n_problems"]) == (40, 20)


def test_a_rule_agrees_with_itself_and_not_with_its_opposite():
    words, scores, known = world()
    turned = scores.with_columns(pl.col("tokens") * -1)
    for others, expected in ((scores, 1.0), (turned, -1.0)):
        found = rule_agreement([agreements(words, scores, others, known)], seed=0, resamples=20)
        assert found["spearman"].to_list() == pytest.approx([expected, expected])


def test_without_words_there_is_nothing_to_say():
    words, scores, known = world()
    nothing = word_influence(words.clear(), scores, known)
    assert classes([class_sums(nothing)], seed=0).is_empty()
    assert rule_agreement([], seed=0).is_empty()
