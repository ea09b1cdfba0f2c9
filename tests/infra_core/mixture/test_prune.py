"""A prune drops exactly its fraction: the rows that fail by score and by rank."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import DataError
from infra_core.mixture import Evidence
from infra_core.recipe import MixParams, Prune
from tests.infra_core.mixture.worlds import carried_out, influence


def prune(by="correct", fraction=0.5, **fields):
    return MixParams(rule=Prune(kind="prune", by=by, fraction=fraction, **fields), seed=0)


def left(params, corpus_rows, *tables):
    _, gone, _ = carried_out(params, corpus_rows, evidence=Evidence(influence=pl.concat(tables)))
    return set(gone["example_id"])


MATHS = [("math", "easy", 9)]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(("math", "code", "science")), st.integers(-3, 3)), min_size=1, max_size=60
    ),
    st.sampled_from((0.1, 0.25, 0.5, 1 / 3, 1.0)),
)
def test_exactly_the_fraction_leaves_and_of_every_domain_its_share(drawn, fraction):
    """Values repeat, so ties are everywhere; no domain loses a row more than its share, rounded up."""
    corpus_rows = [(domain, "easy", 9) for domain, _ in drawn]
    values = influence([value for _, value in drawn])
    coming, gone, _ = carried_out(prune(fraction=fraction), corpus_rows, evidence=Evidence(influence=values))
    assert gone.height == round(fraction * len(drawn))
    assert coming.height + gone.height == len(drawn)
    for domain, rows in gone.group_by("domain"):
        share = fraction * sum(name == domain[0] for name, _ in drawn)
        assert share - 1 < rows.height < share + 1


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30))
def test_among_equals_the_smaller_id_leaves_first(count):
    gone = left(prune(), MATHS * count, influence([1.0] * count))
    assert gone == {f"corpus{n:04d}" for n in range(round(0.5 * count))}


def test_correct_drops_what_helps_least_and_incorrect_what_harms_most():
    """Influence on what was lost makes wrong answers likelier: the highest goes."""
    gained, lost = influence([3, 1, 2, 0], "math/gained"), influence([0, 5, 1, 2], "math/lost")
    assert left(prune("correct"), MATHS * 4, gained, lost) == {"corpus0001", "corpus0003"}
    assert left(prune("incorrect"), MATHS * 4, gained, lost) == {"corpus0001", "corpus0003"}
    assert left(prune("incorrect", 0.25), MATHS * 4, gained, lost) == {"corpus0001"}
    assert left(prune("correct", 0.25), MATHS * 4, gained, lost) == {"corpus0003"}


def test_a_row_must_fail_by_score_and_by_rank():
    """One judge's outrage makes a sum the lowest, but not a place; who is low with both leaves first."""
    one = influence([-100, 2, 3, 4, 5, 6], "math/gained")
    other = influence([6, 1, 2, 3, 4, 5], "code/gained")
    by_sum = left(prune(fraction=1 / 6), MATHS * 6, one, other)
    assert by_sum == {"corpus0001"}  # second by score and first by rank; corpus0000 is first and fourth


def test_a_judge_of_long_queries_does_not_outvote_the_other():
    """A thousand times the nats of the other: who leaves is the same as without the factor."""
    one, other = [1, 2, 3, 4, 9, 8], [6, 5, 1, 2, 3, 4]
    plain = left(prune(), MATHS * 6, influence(one, "math/gained"), influence(other, "code/gained"))
    long = [1000 * value for value in one]
    assert left(prune(), MATHS * 6, influence(long, "math/gained"), influence(other, "code/gained")) == plain


def test_toward_own_asks_the_queries_of_a_rows_domain_alone():
    own, foreign = influence([1, 2, 3, 4], "math/correct"), influence([9, 8, -9, -9.5], "code/correct")
    assert left(prune(toward="own"), MATHS * 4, own, foreign) == {"corpus0000", "corpus0001"}
    assert left(prune(toward="all"), MATHS * 4, own, foreign) == {"corpus0002", "corpus0003"}


def test_a_row_that_could_not_be_scored_stays():
    scored = influence({f"corpus{n:04d}": 1.0 for n in range(3)})
    assert left(prune(fraction=1.0), MATHS * 4, scored) == {"corpus0000", "corpus0001", "corpus0002"}


def test_where_nothing_was_lost_harm_cannot_be_judged():
    """Alone it is an error that says what there is; combined falls back to benefit and says so."""
    gained = influence([1, 2], "math/gained")
    with pytest.raises(DataError, match=r"incorrect needs queries that fine-tuning lost"):
        left(prune("incorrect"), MATHS * 2, gained)
    _, gone, _ = carried_out(prune("combined"), MATHS * 2, evidence=Evidence(influence=gained))
    [reason] = gone["reason"]
    assert reason == "math pruned, combined, of what was gained alone: fine-tuning lost nothing"


def test_a_rule_without_its_evidence_says_what_it_needs():
    with pytest.raises(DataError, match="decides by influence, and was given none"):
        carried_out(prune(), MATHS)
