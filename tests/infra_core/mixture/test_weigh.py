"""Weights move what counts, not how much there is."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.mixture import Evidence
from infra_core.recipe import MixParams, Random, Reverse, Weigh
from tests.infra_core.mixture.worlds import carried_out, influence, rows


def weights(by, corpus_rows, values=(), control=None, strength=0.5):
    rule = Weigh(kind="weigh", by=by, strength=strength)
    params = MixParams(rule=control or rule, like=rule if control else None, seed=0)
    coming, _, _ = carried_out(params, corpus_rows, evidence=Evidence(influence=influence(values)))
    return coming.with_columns(pl.col("weight").fill_null(1.0))


@settings(deadline=None, max_examples=30)
@given(
    rows,
    st.sampled_from(("influence", "directions")),
    st.sampled_from((None, Random(kind="random"), Reverse(kind="reverse"))),
    st.sampled_from((0.2, 1.0)),
)
def test_the_scored_tokens_of_a_domain_count_as_much_as_before(corpus_rows, by, control, strength):
    """Whatever is weighed by, and under its controls; no weight is negative."""
    found = weights(by, corpus_rows, range(len(corpus_rows)), control, strength)
    assert (found["weight"] >= 0).all()
    for _, here in found.group_by("domain"):
        counted = (here["weight"].cast(pl.Float64) * here["scored_tokens"]).sum()
        assert counted == pytest.approx(here["scored_tokens"].sum(), rel=1e-5)


def test_the_most_helpful_row_counts_most_and_a_row_without_a_score_as_before():
    """Of rows of equal length weights are 1 − s … 1 + s, evenly; the control has the same ones elsewhere."""
    corpus_rows = [("math", "easy", 10)] * 5
    found = weights(
        "influence", corpus_rows, {"corpus0000": 3, "corpus0001": -1, "corpus0002": 0, "corpus0003": 7}
    )
    assert found["weight"].to_list() == pytest.approx([1.125, 0.625, 0.875, 1.375, 1.0])
    control = weights("influence", corpus_rows, range(5), Random(kind="random"))
    assert sorted(control["weight"]) == pytest.approx([0.6, 0.8, 1.0, 1.2, 1.4])
    assert control["weight"].to_list() != sorted(control["weight"])


def test_a_band_is_weighed_up_by_what_another_is_weighed_down():
    """Easy maths counts half; the tokens that go come to hard maths. Medium rows stay."""
    corpus_rows = [("math", "easy", 21)] * 2 + [("math", "medium", 9)] + [("math", "hard", 41)]
    found = weights("directions", corpus_rows)
    assert found["weight"].to_list() == pytest.approx([0.5, 0.5, 1.0, 1.5])
    turned = weights("directions", corpus_rows, control=Reverse(kind="reverse"))
    assert turned["weight"].to_list() == pytest.approx([1.5, 1.5, 1.0, 0.5])


def test_a_domain_that_lacks_a_band_is_not_weighed():
    assert weights("directions", [("math", "easy", 9)] * 3)["weight"].to_list() == [1.0] * 3
