"""Means by behaviour against plain loops, and what holding the place is for."""

import numpy as np
import polars as pl
import pytest

from infra_core.attributes.places import PLACES, correlates
from infra_core.attributes.steps import STEPS, step_sums, steps
from infra_core.corpus.schema import BEHAVED

GROUP = "math/correct"
RAW, HELD = "influence", "influence_beyond_place"


def world(influence_of, examples=60, spans=10, seed=0):
    """Labelled spans, scores and examples, where `influence_of(behaviour, place, random)` is a token's."""
    random = np.random.default_rng(seed)
    behaved, scores, known = [], [], []
    for number in range(examples):
        name, before, values = f"e{number:03d}", 0, [0.5]  # span 0 is the prompt, which is no step
        sizes = random.integers(1, 9, size=spans)
        total = int(sizes.sum())
        for span, size in enumerate(sizes, 1):
            place = min(PLACES - 1, int((before + size / 2) * PLACES / total))
            late = random.random() < place / (PLACES - 1)
            behaviour = "verification" if late else "plan"
            behaved.append((name, span, "text", 0, 1, int(size), span == spans, behaviour, before, total))
            values.append(influence_of(behaviour, place, random) * size)
            before += int(size)
        scores.append((name, GROUP, values))
        known.append((name, "math", f"problem {number // 2}"))
    return (
        pl.DataFrame(behaved, schema=pl.Schema(BEHAVED), orient="row"),
        pl.DataFrame(
            scores,
            schema={"example_id": pl.String(), "group": pl.String(), "spans": pl.List(pl.Float32())},
            orient="row",
        ),
        pl.DataFrame(known, schema=["example_id", "domain", "problem"], orient="row"),
    )


def by_behaviour(table):
    """Rows by behaviour."""
    return {row["behaviour"]: row for row in table.iter_rows(named=True)}


def test_means_are_those_of_plain_loops():
    """Influence over tokens; and less what spans of the same place come to, as the tokens lie."""
    behaved, scores, known = world(lambda behaviour, place, random: random.normal() + (behaviour == "plan"))
    found = by_behaviour(steps([step_sums(behaved, scores, known)], seed=0, resamples=50))
    values = {row[0]: row[2] for row in scores.iter_rows()}
    spans = [
        (row["behaviour"], int((row["before"] + row["tokens"] / 2) * PLACES / row["of"]), row["tokens"],
         values[row["example_id"]][row["span"]])
        for row in behaved.iter_rows(named=True)
    ]  # fmt: skip
    mean_at = {
        place: sum(v for _, p, _, v in spans if p == place) / sum(t for _, p, t, _ in spans if p == place)
        for place in range(PLACES)
    }
    for behaviour, row in found.items():
        own = [(place, tokens, value) for name, place, tokens, value in spans if name == behaviour]
        tokens = sum(t for _, t, _ in own)
        assert row["n_spans"] == len(own)
        assert row["tokens"] == tokens
        assert row["share"] == pytest.approx(tokens / sum(t for _, _, t, _ in spans))
        assert row[RAW] == pytest.approx(sum(v for _, _, v in own) / tokens, rel=1e-5)
        expected = sum(t * mean_at[p] for p, t, _ in own) / tokens
        assert row[HELD] == pytest.approx(row[RAW] - expected, rel=1e-4, abs=1e-7)
        assert row["low"] <= row[RAW] <= row["high"]
        assert row["low_beyond_place"] <= row[HELD] <= row["high_beyond_place"]


def test_what_only_the_place_explains_is_not_put_down_to_the_behaviour():
    """Late tokens help and late spans verify: raw means differ, held ones do not."""
    sums = step_sums(*world(lambda behaviour, place, random: place - 2 + 0.1 * random.normal(), examples=200))
    found = by_behaviour(steps([sums], seed=0, resamples=200))
    assert found["verification"]["low"] > 0 > found["plan"]["high"]
    for row in found.values():
        assert abs(row[HELD]) < 0.05
        assert row["low_beyond_place"] < 0.02
        assert row["high_beyond_place"] > -0.02


def test_what_the_behaviour_explains_stays_when_its_place_is_held():
    """Spans that verify harm wherever they stand, though late ones help: the sign turns, and that is said."""
    sums = step_sums(
        *world(lambda behaviour, place, random: 2 * place - 3 * (behaviour == "verification"), examples=200)
    )
    table = steps([sums], seed=0, resamples=200)
    found = by_behaviour(table)
    assert found["verification"]["low"] > 0 > found["verification"]["high_beyond_place"]
    assert correlates(table)["behaviour"].to_list() == ["verification"]


def test_parts_and_their_order_change_nothing():
    """Sums add up, however rows are divided."""
    behaved, scores, known = world(lambda behaviour, place, random: random.normal())
    whole = steps([step_sums(behaved, scores, known)], seed=0, resamples=50)
    cut = pl.col("example_id") > "e030"
    halves = [step_sums(behaved.filter(at), scores, known) for at in (cut, ~cut)]
    again = steps(halves, seed=0, resamples=50)
    numbers = [name for name, kind in STEPS.items() if kind.is_float()]
    assert again.drop(numbers).equals(whole.drop(numbers))
    assert again.select(numbers).to_numpy() == pytest.approx(whole.select(numbers).to_numpy(), rel=1e-9)


def test_responses_to_one_problem_are_one_witness():
    """The same rows, every example under two names and one problem: no narrower an interval."""
    behaved, scores, known = world(lambda behaviour, place, random: random.normal() + 1)
    copied = [
        pl.concat([frame, frame.with_columns(example_id=pl.format("{}b", "example_id"))])
        for frame in (behaved, scores, known)
    ]
    once, twice = (
        by_behaviour(steps([step_sums(*frames)], seed=0, resamples=300))
        for frames in ((behaved, scores, known), copied)
    )
    for behaviour, row in once.items():
        width, again = (found["high"] - found["low"] for found in (row, twice[behaviour]))
        assert again == pytest.approx(width, rel=1e-6)


def test_without_spans_there_is_nothing_to_say():
    assert steps([], seed=0).schema == pl.Schema(STEPS)
