"""Tables become verdicts: the same numbers as a bank laid out by hand, whatever the order of rows."""

import numpy as np
import polars as pl
import pytest

from infra_core.errors import DataError
from infra_core.report.validity import Cost, ValidityInputs, build
from infra_core.validity.agreement import agreements
from infra_core.validity.designs import SUBSETS
from infra_core.validity.judging import CONTRAST, OUTCOMES, SCORE_TABLE, judge

ROWS = [f"row-{n}" for n in range(12)]
QUERIES = [("q0", "math/correct"), ("q1", "math/correct"), ("q2", "code/correct")]
DESIGNS = {"random": 12, "domain": 6, "band": 6}


def tables(seed: int = 0):
    """Rows are worth something to each query, and what a subset's model says is their sum and some luck."""
    random = np.random.default_rng(seed)
    worth = random.normal(size=(len(ROWS), len(QUERIES)))
    drawn, told = [], []
    for design, count in DESIGNS.items():
        for number in range(count):
            name, chosen = f"{design}-{number:03d}", np.sort(random.permutation(len(ROWS))[:6])
            drawn.append((name, design, [ROWS[place] for place in chosen]))
            for trained in range(2):
                likely = worth[chosen].sum(axis=0) - 10 + 0.1 * random.normal(size=len(QUERIES))
                told += [
                    (name, trained, query, group, value, value > -10)
                    for (query, group), value in zip(QUERIES, likely.tolist(), strict=True)
                ]
    scores = {
        "true": worth,
        "blind": np.ones_like(worth),
        "contrary": -worth,
    }
    return (
        pl.DataFrame(told, schema=pl.Schema(OUTCOMES), orient="row"),
        pl.DataFrame(drawn, schema=pl.Schema(SUBSETS), orient="row"),
        {
            method: pl.DataFrame({"example_id": ROWS, "scores": each.tolist()}, schema=pl.Schema(SCORE_TABLE))
            for method, each in scores.items()
        },
    )


def test_a_verdict_a_design_and_one_on_all_with_contrast():
    verdicts = judge(*tables(), seed=0)
    assert [each.design for each in verdicts] == [*DESIGNS, CONTRAST]
    assert [each.ceiling.subsets for each in verdicts] == [12, 6, 6, 12]
    for each in verdicts:
        assert each.by_query["true"].value > 0.9
        assert each.by_query["contrary"].value == pytest.approx(-each.by_query["true"].value)
        assert each.by_query["blind"].value == 0
        assert set(each.by_group) == {"math/correct", "code/correct"}
        assert each.by_group["code/correct"]["true"].value > 0.8
        assert each.accuracy["code/correct"]["true"].value > 0.4
        assert 0 < each.exact["math/correct"] < 1


def test_the_order_of_tables_does_not_matter():
    outcomes, drawn, scores = tables()
    turned = {method: each.reverse() for method, each in scores.items()}
    shuffled = outcomes.sort("seed", "subset", maintain_order=True)  # queries stay in their order
    for one, other in zip(judge(outcomes, drawn, scores, 0), judge(shuffled, drawn, turned, 0), strict=True):
        assert one.by_query["true"].value == pytest.approx(other.by_query["true"].value, abs=1e-12)
        assert one.ceiling.value == pytest.approx(other.ceiling.value, abs=1e-12)


def test_a_row_without_a_score_is_named():
    outcomes, drawn, scores = tables()
    with pytest.raises(DataError, match=r"scores of true have no row row-0 \(1 of 12 are missing\)"):
        judge(outcomes, drawn, {"true": scores["true"].slice(1)}, 0)


def test_every_correlation_on_the_page_is_in_the_numbers_with_interval_n_and_seeds():
    outcomes, drawn, scores = tables()
    verdicts = judge(outcomes, drawn, scores, seed=3)
    costs = {method: Cost(1.25, 3 * 2**20) for method in verdicts[0].by_query}
    inputs = ValidityInputs(
        "toy",
        3,
        verdicts,
        costs,
        len(ROWS),
        {"math/correct": 2, "code/correct": 1},
        agreements(scores, [group for _, group in QUERIES], 3),
        [],
        None,
        [],
        {},
        None,
        {"infra": "0"},
    )
    page, numbers = build(inputs)
    assert numbers["seed"] == 3
    figures = {figure["id"]: figure for figure in numbers["figures"]}
    ours = figures["lds/design=random/method=true"]
    assert ours["value"] == verdicts[0].by_query["true"].value
    assert ours["low"] <= ours["value"] <= ours["high"]
    assert (ours["n"], ours["seeds"], ours["unit"]) == (12, 2, "correlation")
    assert f"at {ours['value']:.2f} [" in page
    assert figures["lds difference/against=blind/design=random/method=true"]["low"] > 0
    assert page.count("better") >= 2  # than the blind one and the contrary one
    assert {"lds ceiling/design=band", "seconds/method=true", "peak memory/method=true"} <= set(figures)
    agreed = figures["rank agreement/group=code/correct/against=true/method=contrary"]
    assert (agreed["value"], agreed["n"]) == (pytest.approx(-1), len(ROWS))
    assert build(inputs) == (page, numbers)
