"""Questions split without overlap; answers and references become queries of the right group."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.schema import ANSWERS, CORPUS, QUERY
from infra_core.errors import DataError
from infra_core.evaluation.answers import queries_from_answers, queries_from_references, split_questions


def questions(prompts, response="so 4"):
    """Benchmark rows that ask `prompts`."""
    return pl.DataFrame(
        [
            {"example_id": f"q{n}", "domain": "math", "source": "sums", "prompt": asked, "response": response}
            for n, asked in enumerate(prompts)
        ],
        schema=pl.Schema(CORPUS),
    )  # fmt: skip


def answers(rights):
    """One answer a question, right or wrong."""
    return pl.DataFrame(
        [
            ("sums", "1", f"q{n}", "math", None, 0, f"r{n}", right, "why", 3, False)
            for n, right in enumerate(rights)
        ],
        schema=pl.Schema(ANSWERS), orient="row",
    )  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=40), st.floats(0.05, 1.0), st.integers(0, 5))
def test_no_question_is_on_both_sides_however_often_it_is_asked(prompts, share, seed):
    """Rows are divided, prompts are never; the share is met to within a question, in any row order."""
    rows = questions(prompts)
    distinct = len(set(prompts))
    if share < 1 and not 0 < round(share * distinct) < distinct:
        with pytest.raises(DataError, match="cannot be split"):
            split_questions(rows, share, seed)
        return
    query, exam = split_questions(rows, share, seed)
    assert set(query["prompt"]).isdisjoint(exam["prompt"])
    assert query.height + exam.height == rows.height
    assert query["prompt"].n_unique() == round(share * distinct)
    turned, _ = split_questions(rows.reverse(), share, seed)
    assert turned.sort("example_id").equals(query.sort("example_id"))


def test_right_and_wrong_answers_are_queries_of_two_groups():
    """The right ones make f; the wrong ones are kept with their verdict."""
    found = queries_from_answers(answers([True, False, True]), questions(["a", "b", "c"]))
    assert found.schema == pl.Schema(QUERY)
    assert found["group"].to_list() == ["math/correct", "math/incorrect", "math/correct"]
    assert found["prompt"].to_list() == ["a", "b", "c"]
    assert found["query_id"].is_unique().all()
    assert set(found["objective"]) == {"own_correct"}


def test_a_domain_without_a_right_answer_stops_with_the_way_out():
    """The mean over nothing is no objective; the message says what to change."""
    with pytest.raises(DataError, match=r"sums, 2 questions asked, 0 right; .*objective: reference"):
        queries_from_answers(answers([False, False]), questions(["a", "b"]))


def test_references_are_queries_where_there_are_any():
    """Rows without a reference are left out; a task with none at all is an error."""
    rows = pl.concat([questions(["a"]), questions(["b", "c"], response=" ")[1:]])
    found = queries_from_references(rows)
    assert found.schema == pl.Schema(QUERY)
    assert found.select("prompt", "group", "response").rows() == [("a", "math/reference", "so 4")]
    with pytest.raises(DataError, match="no reference response in 1 questions"):
        queries_from_references(rows[1:])
