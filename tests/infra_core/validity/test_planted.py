"""Planted rows are what the truth says they are, and a score is judged by finding them."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from infra_core.corpus.schema import CORPUS, QUERY, example_id
from infra_core.validity.detection import CLEAN, find_rows, find_spans, mark_noise
from infra_core.validity.judging import SCORE_TABLE
from infra_core.validity.planted import OTHER, TRUTH, UNUSUAL, plant

EMPTY = dict.fromkeys(CORPUS)


def corpus(count: int = 40) -> pl.DataFrame:
    rows = []
    for number in range(count):
        domain = "math" if number % 2 else "code"
        prompt, response = f"{domain} {number}?", f"step {number}\nthen {number + 1}\nso it is\n#### {number}"
        rows.append(EMPTY | {
            "example_id": example_id(domain, prompt, response), "domain": domain, "source": "made",
            "raw_ref": f"made#{number}", "prompt": prompt, "response": response,
        })  # fmt: skip
    return pl.DataFrame(rows, schema=pl.Schema(CORPUS))


def queries(count: int = 10) -> pl.DataFrame:
    asked = [
        dict.fromkeys(QUERY)
        | {"query_id": f"q{n}", "group": "math/correct", "prompt": f"how {n}?", "response": f"so\n#### {n}"}
        for n in range(count)
    ]
    return pl.DataFrame(asked, schema=pl.Schema(QUERY))


@pytest.fixture(scope="module")
def planted():
    return plant(corpus(), queries(), 0.1, seed=0)


def test_every_kind_is_there_as_often_as_asked_and_no_row_is_spoilt_twice(planted):
    rows, truth = planted
    assert dict(truth.schema) == TRUTH
    assert dict(truth.group_by("kind").len().rows()) == dict.fromkeys(
        ("wrong", "shuffled", "noise", "unusual", "duplicate", "off_domain"), 4
    )
    assert truth["made_from"].n_unique() == truth["example_id"].n_unique() == truth.height
    assert rows.height == 40 + 8  # two kinds are new rows, four are edits
    assert set(truth["example_id"]) <= set(rows["example_id"])
    untouched = rows.join(truth, on="example_id", how="anti")
    assert set(untouched["example_id"]) < set(corpus()["example_id"])


def test_an_edit_is_the_one_that_its_kind_names(planted):
    rows, truth = planted
    now = {row["example_id"]: row for row in rows.to_dicts()}
    before = {row["example_id"]: row for row in corpus().to_dicts()}
    for told in truth.to_dicts():
        row, old = now[told["example_id"]], before.get(told["made_from"])
        match told["kind"]:
            case "wrong":
                assert row["prompt"] == old["prompt"]
                assert row["response"] in {
                    other["response"] for other in before.values() if other["domain"] == row["domain"]
                } - {old["response"]}
            case "shuffled":
                assert row["response"] != old["response"]
                assert sorted(row["response"].split("\n")) == sorted(old["response"].split("\n"))
            case "noise":
                spoilt = row["response"][told["start"] : told["stop"]]
                assert spoilt.isalnum()
                rest = row["response"][: told["start"]], row["response"][told["stop"] :]
                assert old["response"].startswith(rest[0])
                assert old["response"].endswith(rest[1])
                assert rest[1].count("\n") >= 1  # the answer stands
            case "unusual":
                assert row["response"] == f"{UNUSUAL}\n{old['response']}"
            case "duplicate":
                assert row["prompt"].strip() in set(queries()["prompt"])
            case "off_domain":
                assert row["domain"] == OTHER


def test_the_same_seed_plants_the_same_whatever_the_order_of_rows(planted):
    again = plant(corpus().reverse(), queries(), 0.1, seed=0)
    assert again[0].equals(planted[0])
    assert again[1].equals(planted[1])
    assert not plant(corpus(), queries(), 0.1, seed=1)[1].equals(planted[1])


def test_what_cannot_be_spoilt_in_a_way_is_not():
    """One line cannot be shuffled."""
    short = corpus(6).with_columns(response=pl.lit("42"))
    _, truth = plant(short, queries(), 0.2, seed=0)
    assert set(truth["kind"]) == {"unusual", "duplicate", "off_domain"}


def judged(kinds, domains, scores, groups):
    rows = pl.DataFrame({
        "example_id": [f"r{n}" for n in range(len(kinds))],
        "domain": domains,
        "kind": kinds,
    })
    table = pl.DataFrame({"example_id": rows["example_id"], "scores": scores}, schema=pl.Schema(SCORE_TABLE))
    return {(each.kind, each.against): each for each in find_rows(rows, table, groups, seed=0)}


def test_within_one_domain_it_is_the_area_under_the_curve_of_low_scores():
    random = np.random.default_rng(0)
    kinds = ["wrong"] * 9 + [CLEAN] * 30
    scores = random.normal(size=(39, 4)).round(1)  # with ties
    found = judged(kinds, ["math"] * 39, scores.tolist(), ["math/correct"] * 4)["wrong", CLEAN]
    labels = np.array([kind == "wrong" for kind in kinds])
    assert found.auc.value == pytest.approx(roc_auc_score(labels, -scores.mean(axis=1)))
    assert found.auc.low <= found.auc.value <= found.auc.high
    assert found.chance == pytest.approx(9 / 39)


def test_domains_are_compared_each_with_itself():
    """Scores of code are all lower; within each domain the wrong rows are last."""
    kinds = ["wrong", CLEAN, CLEAN] * 2
    domains = ["math"] * 3 + ["code"] * 3
    scores = [[5.0, 0], [6, 0], [7, 0], [0, -9], [0, -8], [0, -7]]
    found = judged(kinds, domains, scores, ["math/correct", "code/correct"])["wrong", CLEAN]
    assert found.auc.value == 1.0
    assert found.precision == 1.0


def test_near_duplicates_are_looked_for_at_the_top_by_their_nearest_query():
    kinds = ["duplicate", CLEAN, CLEAN]
    scores = [[-9.0, 5], [1, 1], [2, 2]]
    assert judged(kinds, ["math"] * 3, scores, ["math/a"] * 2)["duplicate", CLEAN].auc.value == 1.0


def test_rows_of_no_domain_are_held_against_all_and_wrong_ones_also_against_unusual_ones():
    kinds = ["off_domain", CLEAN, CLEAN, "wrong", "unusual"]
    domains = [OTHER, "math", "code", "math", "math"]
    found = judged(kinds, domains, [[0.0, 0], [1, 1], [1, 1], [1, 0], [0, 0]], ["math/a", "code/a"])
    assert found["off_domain", CLEAN].auc.value == 1.0
    assert found["wrong", "unusual"].auc.value == 0.0  # the right one stands below it


def test_spans_of_noise_are_found_by_low_influence():
    spans = pl.DataFrame({
        "domain": ["math"] * 4 + ["code"] * 2,
        "noise": [True, False, False, False, False, False],
        "influence": [-1.0, -2.0, 0.5, 3.0, -9.0, -9.0],
    })
    found = find_spans(spans, seed=0)
    assert found.auc.value == pytest.approx(2 / 3)  # of three others in its domain, one is below
    assert found.precision == pytest.approx(average_precision_score([1, 0, 0, 0], [1.0, 2.0, -0.5, -3.0]))


def test_a_span_is_noise_if_most_of_it_is_and_a_row_without_noise_has_none():
    truth = pl.DataFrame(
        [("noisy", "noise", "a", 4, 9), ("other", "wrong", "b", None, None)],
        schema=pl.Schema(TRUTH),
        orient="row",
    )
    places = [(0, 4), (4, 10), (10, 14)]
    spans = pl.DataFrame(
        [(name, *place) for name in ("noisy", "other", "clean") for place in places],
        schema=["example_id", "start", "stop"],
        orient="row",
    )
    marked = mark_noise(spans, truth)
    assert marked["noise"].to_list() == [False, True, False] + [False] * 6
    assert marked.columns == ["example_id", "start", "stop", "noise"]
