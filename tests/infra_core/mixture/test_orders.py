"""Orders: who is best, when several judges choose, and by rival ideas of what a row is worth."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.mixture import Evidence
from infra_core.mixture.orders import by_nearness, by_perplexity, in_turn
from infra_core.recipe import MixParams, Select
from tests.infra_core.mixture.worlds import carried_out, influence, rows

MATHS = [("math", "easy", 10)]


def chosen(spread, *tables, count=6, fraction=0.5, problems=None):
    rule = Select(kind="select", match="rows", pool="corpus", fraction=fraction, spread=spread)
    coming, _, _ = carried_out(
        MixParams(rule=rule, seed=0), MATHS * count, evidence=Evidence(influence=pl.concat(tables))
    )
    return coming["example_id"].str.slice(-1).cast(pl.Int32).to_list()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
def test_choosing_in_turn_takes_every_row_once_and_each_choice_is_the_best_left(count, judges, seed):
    values = np.random.default_rng(seed).integers(0, 5, size=(count, judges)).astype(float)
    order = in_turn(values).tolist()
    assert sorted(order) == list(range(count))
    for turn, row in enumerate(order):
        assert values[row, turn % judges] == max(values[left, turn % judges] for left in order[turn:])


def test_the_sum_may_serve_one_judge_alone_and_turns_serve_both():
    """Maths rows help twice as much; the sum takes only them, turns take of both kinds."""
    maths = influence([9, 8, 7, 0, 0, 0], "math/correct")
    code = influence([0, 0, 0, 3, 2, 1], "code/correct")
    louder = maths.with_columns(pl.col("influence") + pl.when(pl.col("influence") > 0).then(99).otherwise(0))
    assert chosen("round_robin", maths, code) == [0, 3, 4]  # code is first in the alphabet
    assert chosen("sum", louder, code.with_columns(influence=pl.lit(0.001))) == [0, 1, 2]


def test_coverage_prefers_what_is_still_missing():
    """Once two maths rows are taken a third adds less than a code row that by itself is weaker."""
    maths = influence([1.0] * 40 + [0.0] * 10, "math/correct")
    code = influence([0.0] * 40 + [0.9] * 10, "code/correct")
    rule = Select(kind="select", match="rows", pool="corpus", fraction=0.4, spread="coverage")
    coming, _, _ = carried_out(
        MixParams(rule=rule, seed=0), MATHS * 50, evidence=Evidence(influence=pl.concat([maths, code]))
    )
    numbers = coming["example_id"].str.slice(-2).cast(pl.Int32)
    assert (numbers >= 40).sum() == 10  # all of them, beside ten of forty


def test_mid_perplexity_is_nearest_to_the_median_and_top_is_the_highest():
    perplexity = pl.DataFrame({
        "pool": "corpus", "example_id": [f"r{n}" for n in range(5)], "domain": "math",
        "nll_per_token": [0.1, 9.0, 1.0, 0.2, 2.0],
    })  # fmt: skip
    candidates = perplexity.drop("nll_per_token")
    assert by_perplexity(candidates, perplexity, "mid")["example_id"].to_list()[0] == "r2"
    assert by_perplexity(candidates, perplexity, "top")["example_id"].to_list() == [
        "r1",
        "r4",
        "r2",
        "r3",
        "r0",
    ]


def test_a_reserve_row_stands_in_the_middle_of_the_corpus_or_not():
    """The middle is the corpus's own, whatever else is in the reserve."""
    corpus = pl.DataFrame({
        "pool": "corpus", "example_id": [f"c{n}" for n in range(9)], "domain": "math",
        "nll_per_token": [float(n) for n in range(9)],
    })  # fmt: skip
    reserve = pl.DataFrame({
        "pool": "reserve", "example_id": ["far", "near", "further"], "domain": "math",
        "nll_per_token": [80.0, 4.1, 90.0],
    })  # fmt: skip
    ordered = by_perplexity(reserve.drop("nll_per_token"), pl.concat([corpus, reserve]), "mid")
    assert ordered["example_id"][0] == "near"


def test_nearness_asks_the_queries_of_the_own_domain_where_there_are_some():
    cosines = pl.Series([[0.9, 0.1], [0.5, 0.2], [0.1, 0.3]], dtype=pl.Array(pl.Float32, 2))
    nearness = pl.DataFrame({"pool": "corpus", "example_id": ["a", "b", "c"], "cosines": cosines})
    candidates = nearness.drop("cosines")
    for domain, best in (("math", "a"), ("code", "c"), ("science", "a")):
        ordered = by_nearness(candidates, nearness, ("math", "code"), domain)
        assert ordered["example_id"][0] == best


@settings(deadline=None, max_examples=25)
@given(rows, rows, st.sampled_from(("rows", "tokens")), st.sampled_from((0.3, 1.0)), st.integers(0, 9))
def test_a_selection_keeps_every_domain_at_its_size(corpus_rows, reserve_rows, match, fraction, seed):
    """Rows to the row, tokens to half a row; and never a row twice."""
    random = np.random.default_rng(seed)
    found = pl.concat([
        influence(random.normal(size=len(drawn)), "math/correct", pool)
        for pool, drawn in (("corpus", corpus_rows), ("reserve", reserve_rows))
    ])
    rule = Select(kind="select", match=match, pool="both", fraction=fraction)
    coming, gone, _ = carried_out(
        MixParams(rule=rule, seed=0), corpus_rows, reserve_rows, Evidence(influence=found)
    )
    assert coming["example_id"].is_unique().all()
    assert coming.filter(pl.col("pool") == "corpus").height + gone.height == len(corpus_rows)
    for domain in {domain for domain, _, _ in corpus_rows}:
        held = [tokens for name, _, tokens in corpus_rows if name == domain]
        here = coming.filter(pl.col("domain") == domain)
        if match == "rows":
            assert here.height == round(fraction * len(held))
        else:
            assert abs(here["tokens"].sum() - fraction * sum(held)) <= 30.5


def test_the_best_of_both_pools_are_taken():
    found = pl.concat([influence([1, 2, 3]), influence([9, 0, 8], pool="reserve")])
    rule = Select(kind="select", match="rows", pool="both")
    coming, gone, _ = carried_out(
        MixParams(rule=rule, seed=0), MATHS * 3, MATHS * 3, Evidence(influence=found)
    )
    assert coming["example_id"].to_list() == ["corpus0002", "reserve0000", "reserve0002"]
    assert set(gone["reason"]) == {"math selected by influence"}


def test_a_group_without_a_say_has_no_turn():
    """Toward its own domain a maths row is chosen by maths queries alone, however the others are named."""
    found = pl.concat([influence([1, 2, 3, 4], "math/correct"), influence([4, 3, 2, 1], "code/correct")])
    rule = Select(kind="select", match="rows", pool="corpus", fraction=0.5, toward="own")
    corpus_rows = [*MATHS * 4, ("code", "easy", 10)]
    found = pl.concat([found, influence({"corpus0004": 1.0}, "code/correct")])
    coming, _, _ = carried_out(MixParams(rule=rule, seed=0), corpus_rows, evidence=Evidence(influence=found))
    assert coming.filter(domain="math")["example_id"].to_list() == ["corpus0002", "corpus0003"]
