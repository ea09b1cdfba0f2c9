"""Spans tile the text, whatever the text."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.segment import segment

texts = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from([
            "A. ",
            "b",
            "\n",
            "\n\n",
            "```",
            "```py\n",
            " ",
            "3.5",
            "1. ",
            "! ",
            "\u2028",
            "\r\n",
            "é",
        ]),
        max_size=30,
    ).map("".join),
)


def pieces(text, rule):
    return [text[start:stop] for start, stop, _ in segment(text, rule)]


@settings(deadline=None)
@given(texts, st.sampled_from(["lines", "sentences"]))
def test_spans_tile_the_text_and_none_is_empty(text, rule):
    spans = segment(text, rule)
    assert "".join(text[start:stop] for start, stop, _ in spans) == text
    assert all(start < stop for start, stop, _ in spans)
    assert all(left[1] == right[0] for left, right in pairwise(spans))


@settings(deadline=None)
@given(texts)
def test_sentences_divide_lines_further_and_never_join_them(text):
    cuts = {start for start, _, _ in segment(text, "lines")}
    assert cuts <= {start for start, _, _ in segment(text, "sentences")}


def test_a_line_carries_its_newline_and_the_blank_lines_after_it():
    assert pieces("\na\n\n\nb\nc", "lines") == ["\na\n\n\n", "b\n", "c"]


def test_sentences_end_where_a_sentence_ends():
    text = 'Take 3.5. Is it "so?" Yes! (Done.) e.g.x\n1. First. 2. Second'
    assert pieces(text, "sentences") == [
        "Take 3.5. ", 'Is it "so?" ', "Yes! ", "(Done.) ", "e.g.x\n", "1. First. ", "2. Second",
    ]  # fmt: skip


def test_code_is_one_span_a_line_and_says_so():
    text = "See. This:\n```python\nx = 1. if y else 2. \n\nz\n```\nEnd."
    assert [(text[a:b], kind) for a, b, kind in segment(text, "sentences")] == [
        ("See. ", "text"),
        ("This:\n", "text"),
        ("```python\n", "code"),
        ("x = 1. if y else 2. \n\n", "code"),
        ("z\n", "code"),
        ("```\n", "code"),
        ("End.", "text"),
    ]


@pytest.mark.parametrize("rule", ["lines", "sentences"])
def test_white_space_alone_is_one_span(rule):
    assert segment(" \n\n", rule) == [(0, 3, "text")]
