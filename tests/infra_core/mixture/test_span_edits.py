"""Harmful spans leave the loss or the text; the answer stays, and so does code that would break."""

from typing import get_args

import polars as pl
import pytest

from infra_core.attributes.behaviour import CALL, COMPUTED, CONSTRUCTS, EXPLORATION, RULES
from infra_core.attributes.token_class import CLASSES
from infra_core.corpus.schema import example_id
from infra_core.mixture import Evidence, assemble, carry_out, decide, open_pools
from infra_core.mixture.evidence import LABELLED, SPAN_INFLUENCE
from infra_core.recipe import Ablate, MixParams, Random, Reverse, Spans
from infra_core.recipe.mixture import Behaviour, TokenClass
from tests.infra_core.mixture.worlds import influence, screened, world

TEXT = "aaaa bbbb cccc dddd "  # four spans of five characters and five tokens


def edited(action="mask", fraction=0.5, control=None, values=None, kinds=("text",) * 4, rows=3):
    """A corpus of rows with the text above, of which span k of row r has influence values[r][k]."""
    corpus, reserve, ratings = world([("math", "easy", 21)] * rows, [])
    corpus = corpus.with_columns(response=pl.lit(TEXT))
    values = values or [[-1.0, 2.0, -3.0, -9.0]] * rows
    spans = pl.DataFrame(
        [
            (f"corpus{r:04d}", k + 1, kind, 5 * k, 5 * k + 5, 5, k == 3, "math/correct", row[k])
            for r, row in enumerate(values)
            for k, kind in enumerate(kinds)
        ],
        schema=pl.Schema(SPAN_INFLUENCE),
        orient="row",
    )
    rule = Spans(kind="spans", action=action, fraction=fraction)
    params = MixParams(rule=control or rule, like=rule if control else None, spans="lines", seed=0)
    pools = open_pools(corpus, reserve, ratings, screened())
    found = influence([sum(row) for row in values])
    coming, _ = carry_out(decide(params, pools, Evidence(influence=found, spans=spans)), pools)
    return assemble(corpus.with_row_index("place").cast({"place": pl.Int64()}), coming)


def masked(mixture):
    return [[tuple(piece.values()) for piece in pieces or []] for pieces in mixture["masked"].to_list()]


def test_the_most_harmful_spans_are_masked_within_the_budget_and_never_the_last():
    """Half of 3 × 20 scored tokens: three spans of −3 and, of the −1, as many as fit; −9 is the answer's."""
    mixture = edited()
    assert masked(mixture) == [[(0, 5), (10, 15)]] * 3
    assert mixture["response"].to_list() == [TEXT] * 3
    assert mixture["scored_tokens"].to_list() == [10] * 3
    assert set(mixture["origin"]) == {"edited"}
    assert mixture["replaces"].null_count() == 3
    assert masked(edited(fraction=0.3)) == [[(10, 15)]] * 3


def test_a_helpful_span_is_never_harmful_enough():
    assert set(edited(values=[[1.0, 2.0, 3.0, -9.0]] * 3)["origin"]) == {"kept"}


def test_what_is_dropped_leaves_the_text_and_makes_another_example_of_it():
    """The row is named after its new text and says which one it was cut from."""
    mixture = edited("drop", fraction=0.25)
    assert mixture["response"].to_list() == ["aaaa bbbb dddd "] * 3
    first = mixture.row(0, named=True)
    assert first["replaces"] == "corpus0000"
    assert first["example_id"] == example_id("math", "corpus0000", "aaaa bbbb dddd ")
    assert (first["tokens"], first["scored_tokens"]) == (16, 15)
    assert first["reason"] == "math harmful spans dropped"


def test_code_is_masked_but_not_dropped():
    """A line out of a program breaks it."""
    kinds = ("text", "text", "code", "text")
    assert masked(edited("mask", fraction=0.25, kinds=kinds)) == [[(10, 15)]] * 3
    assert edited("drop", fraction=0.25, kinds=kinds)["response"].to_list() == ["bbbb cccc dddd "] * 3


def test_the_control_takes_as_many_tokens_from_the_same_rows():
    """Rows differ in what harms; the control has the same number of tokens in each, elsewhere."""
    values = [[-1.0, 2.0, -3.0, 0.0], [1.0, 1.0, 1.0, 0.0], [-4.0, -5.0, -6.0, 0.0]]
    rule, control = edited(values=values), edited(values=values, control=Random(kind="random"))
    assert rule["scored_tokens"].to_list() == control["scored_tokens"].to_list() == [10, 20, 5]
    assert masked(control)[2] == masked(rule)[2] == [(0, 5), (5, 10), (10, 15)]  # there is nothing else
    assert masked(control)[1] == []


def test_turned_round_the_most_helpful_spans_go():
    mixture = edited(fraction=0.25, control=Reverse(kind="reverse"))
    assert masked(mixture) == [[(5, 10)]] * 3
    assert mixture["reason"][0] == "math helpful spans masked"


@pytest.mark.parametrize("action", ["mask", "drop"])
def test_no_more_than_the_fraction_goes(action):
    for fraction in (0.05, 0.2, 0.9):
        mixture = edited(action, fraction)
        assert 60 - mixture["scored_tokens"].sum() <= fraction * 60


BEHAVIOURS = ("plan", "exploration", "exploration", "final_answer")


def ablated(action="mask", control=None, kinds=("text",) * 4, does=BEHAVIOURS, **of):
    """Three rows of the text above, of which span k does `does[k]`."""
    corpus, reserve, ratings = world([("math", "easy", 21)] * 3, [])
    corpus = corpus.with_columns(response=pl.lit(TEXT))
    labelled = pl.DataFrame(
        [
            (f"corpus{r:04d}", k + 1, kinds[k], 5 * k, 5 * k + 5, 5, k == 3, does[k])
            for r in range(3)
            for k in range(4)
        ],
        schema=pl.Schema(LABELLED),
        orient="row",
    )
    rule = Ablate(kind="ablate", action=action, **(of or {"behaviours": ("exploration",)}))
    params = MixParams(rule=control or rule, like=rule if control else None, seed=0)
    pools = open_pools(corpus, reserve, ratings, screened())
    coming, _ = carry_out(decide(params, pools, Evidence(labelled=labelled)), pools)
    return assemble(corpus.with_row_index("place").cast({"place": pl.Int64()}), coming)


def test_all_spans_of_a_behaviour_leave_the_loss_or_the_text():
    mixture = ablated()
    assert masked(mixture) == [[(5, 10), (10, 15)]] * 3
    assert mixture["reason"].to_list() == ["math exploration spans masked"] * 3
    assert ablated("drop")["response"].to_list() == ["aaaa dddd "] * 3
    assert masked(ablated(behaviours=("plan", "exploration"))) == [[(0, 5), (5, 10), (10, 15)]] * 3


def test_the_answer_and_code_stay_whatever_they_do():
    assert set(ablated(behaviours=("final_answer",))["origin"]) == {"kept"}
    kinds = ("text", "code", "text", "text")
    assert ablated("drop", kinds=kinds)["response"].to_list() == ["aaaa bbbb dddd "] * 3
    assert masked(ablated("mask", kinds=kinds)) == [[(5, 10), (10, 15)]] * 3


def test_the_control_of_an_ablation_takes_as_much_of_what_does_something_else():
    """One span explores, two do not: one of these goes, never the one that the rule takes."""
    does = ("plan", "exploration", "computation", "final_answer")
    rule, control = ablated(does=does), ablated(does=does, control=Random(kind="random"))
    assert rule["scored_tokens"].to_list() == control["scored_tokens"].to_list()
    assert all(pieces in ([(0, 5)], [(10, 15)]) for pieces in masked(control))
    assert set(control["reason"]) == {"math random spans masked"}


def test_words_of_a_class_leave_as_spans_of_a_behaviour_do():
    does = ("connector", "operator", "connector", "other")
    rule = ablated(does=does, token_classes=("connector",))
    assert masked(rule) == [[(0, 5), (10, 15)]] * 3
    assert rule["reason"].to_list() == ["math connector words masked"] * 3
    control = ablated(does=does, token_classes=("connector",), control=Random(kind="random"))
    assert masked(control) == [[(5, 10)]] * 3  # there is nothing else


def test_the_behaviours_that_can_be_ablated_are_those_that_are_told():
    assert set(get_args(Behaviour)) == {*RULES, COMPUTED, EXPLORATION, *CONSTRUCTS, CALL}
    assert get_args(TokenClass) == CLASSES
