"""The contamination rule, seen without tables around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.overlap import Question, QuestionIndex
from infra_core.recipe import ScreenParams

WORDS = [f"w{i}" for i in range(60)]


def index(*prompts, **params):
    questions = [Question(f"q{number}", "exam", prompt) for number, prompt in enumerate(prompts)]
    return QuestionIndex(questions, ScreenParams(**params))


def test_the_question_overlapped_most_is_named():
    first, second = " ".join(WORDS[:30]), " ".join(WORDS[20:55])
    found = index(first, second).overlap(" ".join(WORDS[15:55]))
    assert (found.question.example_id, found.verdict, found.containment) == ("q1", "contaminated", 1.0)


def test_containment_is_of_the_smaller_side():
    """A question in a book is all there, however long the book."""
    found = index(" ".join(WORDS[:30])).overlap(" ".join([f"x{i}" for i in range(5000)] + WORDS[:30]))
    assert (found.verdict, found.containment) == ("contaminated", 1.0)


@pytest.mark.parametrize("text", ["", "...", "w1", "?"])
def test_next_to_nothing_overlaps_nothing(text):
    assert index(" ".join(WORDS), "", "!").overlap(text) is None


def test_the_thresholds_are_the_recipes():
    half = " ".join(WORDS[:30] + [f"x{i}" for i in range(30)])
    assert index(" ".join(WORDS)).overlap(half).verdict == "contaminated"
    assert index(" ".join(WORDS), drop_containment=0.5).overlap(half).verdict == "suspect"
    assert index(" ".join(WORDS), drop_containment=0.6, suspect_containment=0.5).overlap(half) is None
    assert index(" ".join(WORDS), ngram=40).overlap(half) is None


@settings(deadline=None)
@given(st.text(), st.lists(st.text(), max_size=4))
def test_any_text_has_a_verdict(prompt, questions):
    found = index(*questions).overlap(prompt)
    assert found is None or 0 < found.containment <= 1


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS[:12]), min_size=1, max_size=40))
def test_a_question_always_overlaps_itself(words):
    text = " ".join(words)
    found = index(text, *(f"{text} {word}" for word in WORDS[:4])).overlap(text.upper() + ".")
    assert (found.verdict, found.containment) == ("contaminated", 1.0)
