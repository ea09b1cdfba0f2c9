"""Influence by cell: sums, clusters and seeds."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.attributes.cells import CELLS, cells
from infra_core.corpus.schema import RATINGS


def ratings(bands, *, tokens=None, pool="corpus", domain="math"):
    rows = [
        {
            "example_id": f"e{i}",
            "pool": pool,
            "domain": domain,
            "band": band,
            "response_tokens": tokens[i] if tokens else 1,
        }
        for i, band in enumerate(bands)
    ]
    return pl.DataFrame([{column: row.get(column) for column in RATINGS} for row in rows], schema=RATINGS)


def scores(values, group="math/correct"):
    return pl.DataFrame(
        {"example_id": [f"e{i}" for i in range(len(values))], "group": group, "influence": values},
        schema_overrides={"example_id": pl.String, "influence": pl.Float32},
    )


def test_a_cell_is_the_mean_of_its_examples_and_of_its_tokens():
    found = cells(scores([1.0, 3.0, 10.0]), ratings(["easy", "easy", "hard"], tokens=[1, 3, 5]), seed=0)
    assert found.schema == CELLS
    columns = ["band", "n_examples", "n_problems", "scored_tokens", "influence", "influence_per_token"]
    assert found.select(columns).rows() == [("easy", 2, 2, 4, 2.0, 1.0), ("hard", 1, 1, 5, 10.0, 2.0)]


def test_a_cell_with_one_problem_has_no_interval():
    row = cells(scores([1.0]), ratings(["easy"]), seed=0).row(0, named=True)
    assert (row["low"], row["high"], row["low_per_token"]) == (None, None, None)


def test_bands_come_in_order_and_the_unknown_last():
    found = cells(scores([1.0] * 4), ratings([None, "hard", "easy", "medium"]), seed=0)
    assert found["band"].to_list() == ["easy", "medium", "hard", None]


def test_responses_to_one_problem_are_one_observation():
    """Twenty copies of two values: the naive interval is tight, the clustered one spans both."""
    values = [0.0] * 20 + [1.0] * 20
    rated = ratings(["easy"] * 40)
    naive = cells(scores(values), rated, seed=0).row(0, named=True)
    problems = pl.DataFrame({"example_id": rated["example_id"], "group": ["a"] * 20 + ["b"] * 20})
    clustered = cells(scores(values), rated, problems, seed=0).row(0, named=True)
    assert (clustered["n_problems"], clustered["low"], clustered["high"]) == (2, 0.0, 1.0)
    assert naive["high"] - naive["low"] < 0.4
    assert clustered["influence"] == naive["influence"] == 0.5


def test_rows_without_a_named_problem_are_their_own():
    problems = pl.DataFrame(
        {"example_id": ["e0", "e1"], "group": ["e2", None]}, schema_overrides={"group": pl.String}
    )
    found = cells(scores([1.0, 2.0, 3.0]), ratings(["easy"] * 3), problems, seed=0)
    assert found["n_problems"].to_list() == [3]


def test_the_same_seed_gives_the_same_intervals_and_other_cells_do_not_move_them():
    values = list(np.linspace(-1, 1, 30))
    alone = cells(scores(values[:20]), ratings(["easy"] * 20), seed=3)
    beside = cells(scores(values), ratings(["easy"] * 20 + ["hard"] * 10), seed=3)
    assert alone.row(0) == beside.row(0)
    assert cells(scores(values[:20]), ratings(["easy"] * 20), seed=4)["low"][0] != alone["low"][0]


def test_an_example_that_is_in_two_pools_counts_once():
    rated = pl.concat([ratings(["easy"]), ratings(["hard"], pool="reserve")])
    found = cells(scores([1.0]), rated, seed=0)
    assert found.select("band", "n_examples").rows() == [("easy", 1)]


def test_row_order_does_not_matter():
    values = list(np.linspace(-1, 1, 12))
    rated = ratings(["easy", "hard"] * 6)
    one = cells(scores(values), rated, seed=0)
    other = cells(scores(values).reverse(), rated.reverse(), seed=0)
    assert one.equals(other)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30))
def test_the_interval_holds_the_mean_within_the_range_of_the_values(values):
    row = cells(scores(values), ratings(["easy"] * len(values)), seed=0, resamples=200, level=0.9999).row(
        0, named=True
    )
    slack = 1e-6 * (1 + max(map(abs, values)))
    assert min(values) - slack <= row["low"] <= row["influence"] + slack
    assert row["influence"] - slack <= row["high"] <= max(values) + slack


def test_no_scores_make_an_empty_table():
    assert cells(scores([]), ratings([]), seed=0).schema == CELLS


def test_the_interval_is_about_as_wide_as_theory_says():
    """Of n independent values with deviation s the 95 % interval is 2 × 1.96 s/√n wide."""
    values = np.random.default_rng(0).normal(size=400)
    row = cells(scores(values.tolist()), ratings(["easy"] * 400), seed=0).row(0, named=True)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def with_sources(rated, sources):
    return rated.with_columns(source=pl.Series(sources))


def test_influence_on_queries_of_another_domain_is_a_line_of_its_own():
    """Hard maths → maths, hard maths → code: one cell each, told apart."""
    both = pl.concat([scores([1.0, 2.0], "math/correct"), scores([3.0, 5.0], "code/correct")])
    found = cells(both, ratings(["hard", "hard"]), seed=0)
    assert found.select("group", "across", "domain", "band", "influence").rows() == [
        ("code/correct", True, "math", "hard", 4.0),
        ("math/correct", False, "math", "hard", 1.5),
    ]


def test_a_domain_of_several_sources_has_cells_of_each_behind_those_of_all():
    rated = with_sources(ratings(["easy"] * 4), ["a", "a", "b", "b"])
    found = cells(scores([1.0, 3.0, 5.0, 7.0]), rated, seed=0)
    assert found.select("source", "n_examples", "influence").rows() == [
        (None, 4, 4.0), ("a", 2, 2.0), ("b", 2, 6.0),
    ]  # fmt: skip


def test_difficulty_that_is_length_in_disguise_vanishes_at_equal_length():
    """Influence is a hundredth of the length whatever the band; hard rows are longer, but not all."""
    random = np.random.default_rng(0)
    bands = ["easy"] * 300 + ["hard"] * 300
    tokens = [int(n) for n in (*random.integers(10, 80, 300), *random.integers(30, 100, 300))]
    found = cells(scores([n / 100 for n in tokens]), ratings(bands, tokens=tokens), seed=0)
    easy, hard = found.rows(named=True)
    assert hard["low"] > easy["high"]
    gap, equal = (hard[name] - easy[name] for name in ("influence", "influence_equal_length"))
    assert abs(equal) < 0.25 * gap  # within a fifth of lengths hard rows are still a little longer
    assert 0 < easy["compared"] <= 1


def test_what_does_not_hang_on_length_stays_at_equal_length():
    bands, tokens = ["easy", "hard"] * 100, [10 + n % 50 for n in range(200)]
    values = [1.0 if band == "hard" else -1.0 for band in bands]
    easy, hard = cells(scores(values), ratings(bands, tokens=tokens), seed=0).rows(named=True)
    assert (easy["influence_equal_length"], hard["influence_equal_length"]) == (-1.0, 1.0)
    assert easy["compared"] == 1.0


def test_bands_that_share_no_length_cannot_be_compared_at_equal_length():
    """All easy rows are shorter than all hard ones: there is no number, rather than a made-up one."""
    bands, tokens = ["easy"] * 50 + ["hard"] * 50, [*range(10, 60), *range(100, 150)]
    found = cells(scores([1.0] * 100), ratings(bands, tokens=tokens), seed=0)
    assert found["compared"].to_list()[1] is None or found["compared"].to_list()[1] < 0.5
    for row in found.rows(named=True):
        assert (row["influence_equal_length"] is None) == (row["compared"] is None)
