"""Subsets: alike in size, different in what their design says, and the same for whoever asks again."""

import polars as pl
import pytest

from infra_core.errors import RequestError
from infra_core.validity.designs import ROWS, SUBSETS, draw_subsets, quarters, total_influence

CORPUS = pl.DataFrame(
    [
        (f"row-{n:02d}", "math" if n < 24 else "code", "made", ["easy", "hard", None][n % 3], f"q{n % 4 + 1}")
        for n in range(40)
    ],
    schema=pl.Schema(ROWS),
    orient="row",
)


def of_level(subsets, column, level):
    """How many rows of a level each subset has."""
    there = set(CORPUS.filter(pl.col(column) == level)["example_id"])
    return [len(there & set(ids)) for ids in subsets["example_ids"]]


def test_every_subset_has_its_share_of_rows_and_none_twice():
    drawn = draw_subsets(CORPUS, {"random": 8, "domain": 8, "band": 4, "influence": 4}, 0.5, seed=0)
    assert dict(drawn.schema) == SUBSETS
    assert drawn["subset"].n_unique() == drawn.height == 24
    assert {len(set(ids)) for ids in drawn["example_ids"]} == {20}
    assert set().union(*drawn["example_ids"]) <= set(CORPUS["example_id"])


def test_contrast_is_wider_than_chance():
    drawn = draw_subsets(CORPUS, {"random": 60, "domain": 60}, 0.5, seed=0)
    by_chance, by_domain = (
        pl.Series(of_level(drawn.filter(pl.col("design") == design), "domain", "code"))
        for design in ("random", "domain")
    )
    assert by_chance.mean() == pytest.approx(8, abs=1)  # 16 of 40 rows are code, half of them drawn
    assert by_domain.std() > 1.5 * by_chance.std()


def test_asking_for_more_subsets_moves_none_that_were_there():
    few, many = (draw_subsets(CORPUS, {"random": count, "band": 2}, 0.5, seed=7) for count in (3, 9))
    both = few.join(many, on="subset", suffix="_again")
    assert both.height == 5
    assert both["example_ids"].to_list() == both["example_ids_again"].to_list()
    other = draw_subsets(CORPUS, {"random": 1}, 0.5, seed=8)
    assert few["example_ids"].to_list()[0] != other["example_ids"].to_list()[0]


def test_a_design_without_contrast_and_a_subset_of_nothing_are_refused():
    with pytest.raises(RequestError, match="contrast by source, and all 40 rows are 'made'"):
        draw_subsets(CORPUS, {"source": 2}, 0.5, seed=0)
    with pytest.raises(RequestError, match=r"validity\.fraction 0\.01 of 40 rows is 0"):
        draw_subsets(CORPUS, {"random": 2}, 0.01, seed=0)


def test_quarters_count_groups_alike_and_put_the_most_helpful_last():
    """Influence on b is a hundred times as large; it decides no more for that."""
    scores = pl.DataFrame([
        {"example_id": f"row-{n}", "group": group, "influence": value}
        for n in range(8)
        for group, value in (("a", float(n)), ("b", 100.0 * n * n))
    ])
    assert dict(quarters(total_influence(scores)).rows()) == {f"row-{n}": f"q{n // 2 + 1}" for n in range(8)}
