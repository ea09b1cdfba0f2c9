"""Labels taken away: what is masked, what that was foretold to do, and what it does against its control."""

import numpy as np
import polars as pl
import pytest
import torch

from infra_core.corpus import Span, TokenizedExample
from infra_core.evaluation.statistics import Interval
from infra_core.validity.ablations import (
    CHANGES,
    CONTROL,
    MASKED,
    MASKS,
    among,
    apart,
    changes,
    foretold,
    masks,
    mixture_name,
    sign,
    taken_away,
)
from infra_core.validity.judging import OUTCOMES

SEEDS, QUERIES = 3, [f"q{n}" for n in range(8)]
CLEAR = {"position": {"math/correct": Interval(-1.0, -2.0, -0.5, 0.1, 8, 1)}}


def example(name, scored):
    """Two tokens of a prompt, then one of the response for each of `scored`."""
    wanted = torch.tensor([False, False, *map(bool, scored)])
    spans = (Span(0, 2, "prompt"), Span(2, len(wanted), "response"))
    return TokenizedExample(torch.arange(len(wanted)), wanted, spans, name)


def masked(**rows):
    return pl.DataFrame(list(rows.items()), schema=pl.Schema(MASKS), orient="row")


def outcomes(gains, luck=0.0):
    """Masked models are better than their controls by the label's gain; both share the luck of a seed."""
    random = np.random.default_rng(0)
    by_seed, by_query = luck * random.normal(size=SEEDS), random.normal(size=len(QUERIES))
    told = [
        (mixture_name(label, kind), seed, query, "math/correct", value, value > 0)
        for label, gain in gains.items()
        for kind in (MASKED, CONTROL)
        for seed in range(SEEDS)
        for number, query in enumerate(QUERIES)
        for value in [gain * (kind == MASKED) + by_seed[seed] + by_query[number] + 0.05 * random.normal()]
    ]
    return pl.DataFrame(told, schema=pl.Schema(OUTCOMES), orient="row")


def test_tokens_of_the_response_that_are_no_targets_are_masked_and_those_of_the_prompt_never_count():
    found = masks([example("a", [1, 0, 1, 0]), example("b", [1, 1])])
    assert found.equals(masked(a=[3, 5]))


def test_masking_takes_the_influence_of_its_tokens_away_and_the_control_that_of_others():
    scores = pl.DataFrame({
        "example_id": ["a", "a", "b"],
        "group": ["math/correct", "code/correct", "math/correct"],
        "tokens": [[0.0, 1.0, 2.0, 4.0], [0.0, 0.0, 0.5, 0.0], [0.0, 8.0, 16.0, 32.0]],
    })
    found = changes(masked(a=[2, 3]), masked(a=[1], b=[1, 2]), scores)
    assert dict(found.filter(pl.col("group") == "math/correct").select("example_id", "change").rows()) == {
        "a": -6.0 + 1.0,
        "b": 24.0,
    }
    assert changes(masked(a=[2]), masked(), scores).equals(
        changes(masked(a=[2]), masked(), pl.concat([scores, scores]))  # rows of equal content count once
    )


def test_what_is_foretold_is_the_mean_over_all_rows_masked_or_not_whatever_problems_they_answer():
    told = pl.DataFrame(
        [("a", "math/correct", -3.0), ("b", "math/correct", 1.0)], schema=pl.Schema(CHANGES), orient="row"
    )
    ids = ["a", "b", "c", "d"]
    for problems in (ids, ["one", "one", "two", "three"]):
        rows = pl.DataFrame({"example_id": ids, "problem": problems})
        found = foretold(told, rows, seed=0)["math/correct"]
        assert found.value == pytest.approx(-2.0 / 4)
        assert found.n == len(set(problems))
        assert found.low < found.value < found.high


def test_a_label_that_taught_is_worse_away_and_one_that_harmed_is_better():
    gains = {"exploration": 0.8, "verification": -0.8, "plan": 0.0}
    found = {each.label: each for each in taken_away(outcomes(gains), dict.fromkeys(gains, CLEAR), seed=0)}
    assert found["exploration"].likely.low > 0 > found["verification"].likely.high
    assert found["plan"].likely.low < 0 < found["plan"].likely.high
    assert found["exploration"].exact.value > 0 > found["verification"].exact.value
    assert {each.likely.seeds for each in found.values()} == {SEEDS}
    assert [sign(each.likely, each.foretold["position"]) for each in found.values()] == [
        "contrary",
        "agrees",
        "cannot tell",
    ]


def test_luck_that_both_members_of_a_pair_share_is_no_doubt_about_their_difference():
    quiet, lucky = (
        taken_away(outcomes({"plan": -0.5}, luck), {"plan": CLEAR}, seed=0)[0].likely for luck in (0.0, 10.0)
    )
    assert lucky.high - lucky.low == pytest.approx(quiet.high - quiet.low, rel=1e-6)
    assert lucky.value == pytest.approx(quiet.value)


def test_responses_that_have_a_label_are_told_apart_from_those_that_do_not():
    """Here only these miss it; of a single query nothing is said."""
    told = outcomes({"plan": 0.0}).with_columns(
        pl.col("log_likelihood")
        - 3.0 * (pl.col("query_id").is_in(["q1", "q4"]) & pl.col("subset").str.ends_with(MASKED))
    )
    (found,) = among(told, {"plan": ["q1", "q4"]}, seed=0)
    assert (found.having.n, found.others.n) == (2, 6)
    assert found.having.value == pytest.approx(-3.0, abs=0.2)
    assert found.others.value == pytest.approx(0.0, abs=0.2)
    assert among(told, {"plan": ["q1"]}, seed=0)[0].having is None


def test_labels_of_one_kind_are_held_against_each_other():
    """Of spans with spans, of words with words: the difference of their differences."""
    gains = {"connector": -0.8, "plan": -0.3, "syntax": 0.1}
    (found,) = apart(outcomes(gains), list(gains), seed=0)
    assert (found.label, found.against) == ("connector", "syntax")
    assert found.likely.value == pytest.approx(-0.9, abs=0.1)
    assert found.likely.high < 0
