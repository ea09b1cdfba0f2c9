"""Ingesting a chunk: nothing is lost, and every drop says why."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.clean import ingest_rows
from infra_core.corpus.presets import PRESETS
from infra_core.corpus.schema import CORPUS, DROPPED, example_id
from infra_core.errors import DataError, RequestError
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


def test_tests_that_could_not_be_run_are_told_before_anybody_is_examined_by_them():
    """A column of assertions is not yet a problem: a preset makes it one."""
    mapping = PLAIN.model_copy(update={"tests": "t"})
    good = {"kind": "asserts", "asserts": ["assert f(1) == 2"]}
    kept, dropped = ingest(
        {"p": "q", "t": good}, {"p": "r", "t": ["assert f(1) == 2"]}, mapping=mapping, need_response=False
    )
    assert kept["prompt"].to_list() == ["q"]
    assert "cannot be used" in dropped["reason"].item()


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


def test_several_responses_of_a_row_are_examples_of_one_group_each_accounted_for():
    mapping = ColumnMapping(prompt="p", response="r", correct="ok", take="all")
    rows = ({"p": "q", "r": ["a", "b", "c"], "ok": [True, False, True]}, {"p": "r", "r": ["d"], "ok": [True]})
    kept, dropped = ingest(*rows, mapping=mapping)
    assert kept.select("raw_ref", "group").rows() == [
        ("toy.jsonl#1.1", "toy.jsonl#1"),
        ("toy.jsonl#1.3", "toy.jsonl#1"),
        ("toy.jsonl#2", None),
    ]
    assert dropped.select("raw_ref", "reason").rows() == [("toy.jsonl#1.2", "incorrect: by its own source")]


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        ("sk-proj-" + "aB3" * 14, "api key"),
        ("hf_" + "aBcDe" * 6 + "aBcD", "api key"),
        ("AKIA" + "IOSFODNN7EXAMPLE", "api key"),
        ("ghp_" + "a1" * 18, "api key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "private key"),
        ("jane.doe+x@acme.co.uk", "email"),
        ("admin:hunter22", "password"),
    ],
)
def test_secrets_are_masked_dropped_or_kept_as_the_recipe_says(secret, kind):
    response = f"postgres://{secret}@db/x" if kind == "password" else f"use {secret} now"
    row = {"p": f"q {response}", "r": response}
    kept, _ = ingest(row)
    assert secret not in kept["response"][0] + kept["prompt"][0]
    assert f"<{kind}>" in kept["response"][0]
    assert kept["example_id"][0] == example_id("math", kept["prompt"][0], kept["response"][0])
    kept, dropped = ingest(row, clean=CleanParams(secrets="drop"))
    assert (len(kept), dropped["reason"].to_list()) == (0, [f"secret: {kind}"])
    assert ingest(row, clean=CleanParams(secrets="keep"))[0]["response"][0] == response


@pytest.mark.parametrize(
    "text",
    [
        "mail ann@example.com",
        "x = a@b",
        "matrix product A@B.T",
        "sk-learn",
        "hash 5f4dcc3b5aa765d61d8327deb882cf99",
        "https://host:8080/x@y",
        "decorators: @functools.cache",
    ],
)
def test_what_looks_like_a_secret_and_is_none_stays(text):
    assert ingest({"p": text, "r": text})[0]["response"][0] == text


def test_an_address_that_a_rows_own_tests_hold_belongs_to_the_problem():
    row = {"p": "normalise a.b@leet.io", "r": "code", "t": "assert f('a.b@leet.io') == 'ab@leet.io'"}
    kept, _ = ingest(row, mapping=ColumnMapping(prompt="p", response="r", tests="t"))
    assert kept["prompt"][0] == row["p"]


def test_rows_in_another_language_are_dropped_and_formulas_have_none():
    german = (
        "Wir berechnen zuerst die Summe aller geraden Zahlen und teilen sie dann durch drei, also ist es so."
    )
    english = "First we compute the sum of all the even numbers and then divide it by three, so that is it."
    rows = [
        {"p": text, "r": text}
        for text in (
            german,
            english,
            "$x^2+y^2=z^2$",
            "求所有偶数的和并且除以三得到的结果是多少，请写出完整的解题过程和步骤。",
        )
    ]
    kept, dropped = ingest(*rows, clean=CleanParams(languages=("en",)))
    assert kept["prompt"].to_list() == [english, "$x^2+y^2=z^2$"]
    assert dropped["reason"].to_list() == [
        "language: the prompt is in 'de'",
        "language: the prompt is in 'zh'",
    ]
    assert len(ingest(*rows)[0]) == 4, "nothing is asked by default"


def test_a_licence_list_is_demanded_of_every_row():
    mapping = ColumnMapping(prompt="p", response="r", license="l")
    rows = [{"p": str(n), "r": "a", "l": text} for n, text in enumerate(["MIT", "mit", "gpl-3.0", None])]
    kept, dropped = ingest(*rows, mapping=mapping, clean=CleanParams(licenses=("mit", "apache-2.0")))
    assert kept["license"].to_list() == ["MIT", "mit"]
    assert dropped["reason"].to_list() == ["license: 'gpl-3.0' is not asked for", "license: none is stated"]


def test_length_may_be_limited_in_tokens():
    def count(frame):
        return [(1, len(text)) for text in frame["response"]]

    limits = CleanParams(min_response_tokens=2, max_response_tokens=4)
    numbered = [(f"toy.jsonl#{n}", {"p": str(n), "r": "x" * n}) for n in range(1, 7)]
    kept, dropped = ingest_rows(
        numbered,
        source(ColumnMapping(prompt="p", response="r")),
        limits,
        need_response=True,
        count_tokens=count,
    )
    assert kept["response"].str.len_chars().to_list() == [2, 3, 4]
    assert dropped["reason"].to_list() == [
        "too short: 1 tokens, fewer than 2",
        "too long: 5 tokens, more than 4",
        "too long: 6 tokens, more than 4",
    ]
    with pytest.raises(RequestError, match="no tokenizer"):
        ingest({"p": "q", "r": "a"}, clean=limits)


def test_wrong_answers_are_dropped_with_what_was_said():
    rows = [{"p": str(n), "r": f"so \\boxed{{{n}}}", "a": "3"} for n in range(2, 5)]
    kept, dropped = ingest(*rows, clean=CleanParams(verify=1.0))
    assert kept["prompt"].to_list() == ["3"]
    assert dropped["reason"].to_list() == [
        "wrong answer: got 2, expected 3",
        "wrong answer: got 4, expected 3",
    ]
    assert len(ingest(*rows)[0]) == 3


def test_a_sample_is_verified_by_id_whatever_the_part_it_is_in():
    rows = [{"p": str(n), "r": "so \\boxed{1}", "a": "2"} for n in range(200)]
    judged = CleanParams(verify=0.2)
    _, together = ingest(*rows, clean=judged)
    assert 20 <= len(together) <= 60
    apart = [ingest(row, clean=judged)[1] for row in rows]
    chosen = {json.loads(raw)["p"] for raw in together["raw"]}
    assert [len(one) for one in apart] == [int(str(n) in chosen) for n in range(200)]


def test_thoughts_in_angle_brackets_of_any_kind_must_close():
    assert reason("<Thought>on and on")[0].startswith("thought not closed")
    assert reason("<Thought>a</Thought><Output>4</Output>") == []


def test_no_rows_make_two_empty_tables():
    kept, dropped = ingest()
    assert (kept.schema, dropped.schema, len(kept), len(dropped)) == (CORPUS, DROPPED, 0, 0)
