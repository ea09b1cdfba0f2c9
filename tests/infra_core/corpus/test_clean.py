"""Ingesting a chunk: nothing is lost, and every drop says why."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.clean import ingest_rows
from infra_core.corpus.presets import PRESETS
from infra_core.corpus.schema import CORPUS, DROPPED
from infra_core.errors import DataError
from infra_core.recipe import CleanParams, ColumnMapping, Source

PLAIN = ColumnMapping(prompt="p", response="r", answer="a", difficulty="d")


def source(mapping=PLAIN):
    return Source(name="toy", domain="math", uri="toy.jsonl", mapping=mapping)


def ingest(*rows, mapping=PLAIN, clean=None, need_response=True, check_columns=False):
    numbered = [(f"toy.jsonl#{line}", row) for line, row in enumerate(rows, 1)]
    return ingest_rows(
        numbered,
        source(mapping),
        clean or CleanParams(),
        need_response=need_response,
        check_columns=check_columns,
    )


def reason(response, **clean):
    _, dropped = ingest({"p": "q", "r": response}, clean=CleanParams(**clean))
    return dropped["reason"].to_list()


hostile_text = st.one_of(
    st.text(st.characters()),
    st.sampled_from([
        "",
        " ",
        "\xa0",
        "\x00",
        "\ud800",
        "a\udfffb",
        "\u2028",
        "<think>",
        "</think>",
        "```\n",
        "\\boxed{",
    ]),
    st.integers(1, 3).map(lambda n: "x" * 10**n * 1000),
)
hostile_value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), hostile_text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_text, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def hostile_rows(draw):
    preset = draw(st.sampled_from([None, *PRESETS]))
    mapping = PLAIN if preset is None else ColumnMapping(preset=preset)
    from infra_core.corpus.mapping import ready

    columns = ready(mapping).columns()
    row = st.fixed_dictionaries({}, optional=dict.fromkeys(columns, hostile_value))
    bad = st.builds(lambda text: {"_unreadable": text, "_error": "not JSON"}, hostile_text)
    return mapping, draw(st.lists(st.one_of(row, bad), max_size=6))


@settings(deadline=None)
@given(hostile_rows(), st.booleans())
def test_every_row_is_kept_or_dropped_with_its_reason(hostile, need_response):
    """rows in = kept + dropped, in tables that Parquet can hold, whatever JSON can spell."""
    mapping, rows = hostile
    kept, dropped = ingest(*rows, mapping=mapping, need_response=need_response)
    assert kept.schema == CORPUS
    assert dropped.schema == DROPPED
    refs = sorted([*kept["raw_ref"], *dropped["raw_ref"]])
    assert refs == sorted(f"toy.jsonl#{line}" for line in range(1, len(rows) + 1))
    assert all(dropped["reason"])
    assert kept["example_id"].n_unique() == len(kept)
    for text in [*kept["prompt"], *kept["response"], *dropped["raw"]]:
        text.encode()


def test_a_dropped_row_keeps_its_raw_form():
    row = {"p": "q", "r": None, "more": [1, "é"]}
    _, dropped = ingest(row)
    assert json.loads(dropped["raw"][0]) == row
    assert dropped["raw_ref"][0] == "toy.jsonl#1"


def test_an_unreadable_line_keeps_its_text():
    _, dropped = ingest({"_unreadable": '{"p": ', "_error": "not JSON (cut)"})
    assert dropped.row(0)[2:] == ("not a row: not JSON (cut)", '{"p": ')


@pytest.mark.parametrize(
    ("response", "start"),
    [
        ("<think>on and on", "thought not closed"),
        ("<|begin_of_thought|>a", "thought not closed"),
        ("<think>\n\n</think>4", "thought empty"),
        ("\n</think>4", "thought empty"),
        ("```python\nx = 1\n", "truncated: a code fence"),
        ("so \\boxed{\\frac{1}{2", "truncated: the last \\boxed{"),
    ],
)
def test_responses_that_are_not_whole_are_dropped(response, start):
    assert reason(response)[0].startswith(start)


@pytest.mark.parametrize(
    "response",
    [
        "<think>a</think>4",
        "a</think>4",
        "```python\nx = 1\n```\nand\n```\n1\n```",
        "\\boxed{1}",
        "use ``` inline",
    ],
)
def test_whole_responses_stay(response):
    assert reason(response) == []


def test_length_limits_name_both_numbers():
    assert reason("abc", min_response_chars=4) == ["too short: 3 characters, fewer than 4"]
    assert reason("abcde", max_response_chars=4) == ["too long: 5 characters, more than 4"]


def test_an_answer_may_be_required():
    assert reason("abc", require_answer=True)[0].startswith("no answer")
    assert reason("abc", require_answer=False) == []


def test_the_sources_own_word_that_it_was_cut_is_believed():
    _, dropped = ingest({"p": "q", "r": "abc", "finish_reason": "length"})
    assert dropped["reason"][0] == "truncated: finish_reason is 'length'"


def test_a_repeated_row_is_kept_once():
    kept, dropped = ingest({"p": "q", "r": "a"}, {"p": "q", "r": "a"}, {"p": "q", "r": "b"})
    assert kept["raw_ref"].to_list() == ["toy.jsonl#1", "toy.jsonl#3"]
    assert dropped["reason"].to_list() == ["repeated row: same text as toy.jsonl#1"]


def test_a_question_needs_something_to_judge_by():
    kept, dropped = ingest({"p": "q", "a": "1"}, {"p": "r"}, need_response=False)
    assert kept["response"].to_list() == [""]
    assert dropped["reason"].to_list() == ["nothing to judge by: neither answer nor tests"]


def test_a_column_that_no_row_has_is_one_error_naming_what_there_is():
    with pytest.raises(DataError, match=r"'toy' \(toy.jsonl\) has no column 'p'; it has \['prompt', 'r'\]"):
        ingest(
            {"prompt": "q", "r": "a"},
            {"r": "b"},
            mapping=ColumnMapping(prompt="p", response="r"),
            check_columns=True,
        )


def test_a_column_that_some_rows_lack_drops_those_rows():
    rows = ({"p": "q", "r": "a"}, {"r": "b"})
    kept, dropped = ingest(*rows, mapping=ColumnMapping(prompt="p", response="r"), check_columns=True)
    assert (len(kept), dropped["reason"].to_list()) == (1, ["no prompt: 'p' is missing"])


def test_a_column_that_a_preset_needs_is_asked_for_by_name():
    with pytest.raises(DataError, match="no column 'answer', 'question'"):
        ingest({"q": 1}, mapping=ColumnMapping(preset="gsm8k"), check_columns=True)


def test_an_unknown_label_is_counted_aloud_and_the_row_stays(caplog):
    rows = [
        {"p": str(i), "r": "a", "d": label}
        for i, label in enumerate(["Brutal", "Brutal", "Hard", "n/a", None])
    ]
    kept, _ = ingest(*rows)
    assert kept["difficulty"].to_list() == [None, None, 1.0, None, None]
    assert kept["difficulty_raw"].to_list() == ["Brutal", "Brutal", "Hard", "n/a", None]
    assert kept["difficulty_method"].to_list() == [None, None, "label", None, None]
    assert [record.getMessage()[:50] for record in caplog.records] == [
        "difficulty 'Brutal' is not in the table of corpus/"
    ]
    assert "2 rows" in caplog.text


def test_no_rows_make_two_empty_tables():
    kept, dropped = ingest()
    assert (kept.schema, dropped.schema, len(kept), len(dropped)) == (CORPUS, DROPPED, 0, 0)
