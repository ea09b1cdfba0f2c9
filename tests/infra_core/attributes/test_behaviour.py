"""Rules label spans as two readers did, one of whom had never seen them; and hold on any text."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from infra_core.attributes.behaviour import (
    CALL,
    COMPUTED,
    CONSTRUCTS,
    EXPLORATION,
    OVERTAKEN,
    RULES,
    behaviours,
)
from infra_core.attributes.right_answer import first_right
from infra_core.corpus.segment import segment

LABELLED = Path(__file__).parent / "labelled_spans.jsonl"
SECOND = Path(__file__).parent / "second_reader.jsonl"
DOCUMENT = Path(__file__).parents[3] / "docs" / "behaviours.md"
IN_TEXT = {*RULES, COMPUTED, EXPLORATION}
IN_CODE = {*CONSTRUCTS, CALL}


def traces():
    """The labelled responses."""
    return [json.loads(line) for line in LABELLED.read_text().splitlines()]


def divided(response):
    """Kind and text of each span of a response."""
    return [(kind, response[start:stop]) for start, stop, kind in segment(response, "sentences")]


@pytest.fixture(scope="module")
def readings():
    """The labels of every span: by the first reader, by the second, by the rules."""
    first, rules = [], []
    for trace in traces():
        pieces = divided("".join(text for _, text in trace["spans"]))
        rules += behaviours(trace["prompt"], pieces, trace["answer"])
        first += [label for label, _ in trace["spans"]]
    lines = [json.loads(line) for line in SECOND.read_text().splitlines()]
    assert [line["id"] for line in lines] == [trace["id"] for trace in traces()]
    return {"first": first, "second": [label for line in lines for label in line["labels"]], "rules": rules}


def kappa(one, other, label):
    """Agreement beyond chance on whether a span is this; on all labels at once for `all`."""
    if label != "all":
        one, other = ([said == label for said in reading] for reading in (one, other))
    return f"{cohen_kappa_score(one, other):.2f}".replace("-", "−")


def test_labelled_spans_are_those_that_responses_are_divided_into():
    """At least two hundred, all of labels that rules know."""
    labels = [label for trace in traces() for label, _ in trace["spans"]]
    assert len(labels) >= 200
    assert set(labels) <= IN_TEXT | IN_CODE
    for trace in traces():
        texts = [text for _, text in trace["spans"]]
        assert [text for _, text in divided("".join(texts))] == texts


def test_agreement_is_as_documented(readings):
    """Every label's kappa and the whole one's stand in the document, to two digits."""
    figure = r"(−?\d\.\d\d)"
    stated = re.findall(
        rf"^\| `?(\w+)`? \| \d+ \| {figure} \| {figure} \| {figure} \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    against = [("rules", "first"), ("rules", "second"), ("second", "first")]
    found = {
        label: tuple(kappa(readings[one], readings[other], label) for one, other in against)
        for label in {*readings["first"], "all"}
    }
    assert found == {label: tuple(kappas) for label, *kappas in stated}
    assert {len(reading) for reading in readings.values()} == {len(readings["first"])}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.text(max_size=40), st.none() | st.text(max_size=8))
def test_any_text_has_one_known_label_a_span(response, prompt, answer):
    """Whatever a corpus holds; and the same again."""
    pieces = divided(response)
    found = behaviours(prompt, pieces, answer)
    assert len(found) == len(pieces)
    assert {label for label, (kind, _) in zip(found, pieces, strict=True) if kind == "text"} <= IN_TEXT
    assert {label for label, (kind, _) in zip(found, pieces, strict=True) if kind == "code"} <= IN_CODE
    assert found == behaviours(prompt, pieces, answer)


def test_exploration_begins_behind_the_right_answer_and_needs_one():
    """The same words are computation before it, and for a reader who does not know the answer."""
    pieces = divided("5 * 4 = 20.\nThen 20 + 2 = 22.\nAnd 3 * 3 = 9 too.\nWait, why?\nSo 22.")
    known = behaviours("?", pieces, "22")
    assert known == ["computation", "computation", "exploration", "backtracking", "final_answer"]
    assert "exploration" not in behaviours("?", pieces, None)
    assert not OVERTAKEN & set(known[2:])


@pytest.mark.parametrize(
    ("spans", "answer", "place"),
    [
        (["It has 7 sides.", "6 + 1 = 7.0", "so 7"], "7", 0),
        (["6 + 1 = 7.0", "so 7"], "7", 0),
        (["7 + 1 = 8", "8 - 1 = 7"], "7", 1),
        (["x = \\frac{1}{2}", "done"], "0.5", 0),
        (["The answer is near.", "1,000 it is."], "1000", 1),
        (["The answer is unknown."], "7", None),
        (["7"], None, None),
        (["7"], " ", None),
    ],
)
def test_the_right_answer_is_found_by_value_and_not_by_a_word(spans, answer, place):
    assert first_right(spans, answer) == place


@pytest.mark.parametrize(
    ("line", "construct"),
    [
        ("x += 1\n", "assignment"),
        ("    self.table[name]: int = 3\n", "assignment"),
        ("print(a == b, end='')\n", "call"),
        ("if x == 1: y = 2\n", "branch"),
        ("} else {\n", "branch"),
        ("async def run():\n", "definition"),
        ("#include <vector>\n", "import"),
        ("# import nothing\n", "comment"),
        ("raise ValueError(x) from None\n", "return"),
        ("while True:\n", "loop"),
        ("```python\n", "fence"),
    ],
)
def test_code_is_told_by_construct(line, construct):
    assert behaviours("", [("code", line)], None) == [construct]
