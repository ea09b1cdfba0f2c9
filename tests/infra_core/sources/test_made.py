"""Made rows: right, graded, repeatable, and never the same problem in two splits."""

import json
import re

import pytest

from infra_core.attributes.behaviour import behaviours
from infra_core.errors import RequestError
from infra_core.sources.made import MADE, made_fingerprint, made_rows
from infra_core.sources.made_splits import SPLITS, levels_of, split_of

GRADED = ["tiny_math", "tiny_code", "tiny_thoughts", "list_programs"]
ALL = [f"made://{name}?rows=12" for name in MADE if name != "humaneval"]


def rows(uri: str) -> list[dict]:
    return list(made_rows(uri))


def called(row: dict, source: str) -> list:
    """Run a program as the judge would; it was composed by us."""
    tests, names = json.loads(row["tests"]), {}
    exec(source, names)  # noqa: S102
    return [names[tests["entry"]](*case["args"]) == case["expected"] for case in tests["cases"]]


@pytest.mark.parametrize("uri", ALL)
def test_the_same_address_gives_the_same_rows_and_another_seed_gives_others(uri):
    assert rows(uri) == rows(uri)
    assert len(rows(uri)) == 12
    assert rows(uri) != rows(f"{uri}&seed=1")
    json.dumps(rows(uri))  # plain JSON through and through


@pytest.mark.parametrize("uri", ALL)
def test_fewer_rows_are_the_first_of_more(uri):
    longer = rows(uri.replace("rows=12", "rows=40"))
    assert rows(uri) == longer[:12]


@pytest.mark.parametrize("name", [*GRADED, "gsm_symbolic"])
def test_splits_never_share_a_problem_whatever_their_seeds(name):
    seen: dict[str, str] = {}
    for split in SPLITS:
        for seed in (0, 1):
            for row in rows(f"made://{name}?rows=60&seed={seed}&split={split}"):
                assert split_of(row["problem"]) == split
                assert seen.setdefault(row["problem"], split) == split


@pytest.mark.parametrize("name", GRADED)
def test_a_split_repeats_no_problem_and_takes_its_levels_in_turn(name):
    made = rows(f"made://{name}?rows=200&levels=2-4")
    assert len({row["problem"] for row in made}) == 200
    top = made[0]["level"].split("/")[1]
    assert [row["level"] for row in made[:4]] == [f"2/{top}", f"3/{top}", f"4/{top}", f"2/{top}"]


def test_the_worked_lines_of_a_sum_are_true():
    for row in rows("made://tiny_math?rows=200"):
        *lines, last = row["solution"].splitlines()
        assert len(lines) == int(row["level"][0])
        totals = [eval(line.split(": ")[0]) for line in lines]  # noqa: S307
        assert totals == [int(row["answer"])] * len(lines)  # each line says again what is left to do
        for line in lines:
            for claim in re.findall(r"([\d+-]+)=(\d+)", line.split(": ")[1]):
                assert eval(claim[0]) == int(claim[1])  # noqa: S307
        assert last == f"#### {row['answer']}"
        assert eval(row["problem"].removesuffix("=?")) == int(row["answer"])  # noqa: S307


def test_thoughts_are_true_and_are_told_for_what_they_were_made_to_be():
    """Every equation holds; rules for real responses find the checks and what goes on after the answer."""
    made = rows("made://tiny_thoughts?rows=150&levels=2-3")
    plain = [row["problem"] for row in rows("made://tiny_math?rows=150&levels=2-3&split=exam")]
    assert not {row["problem"] for row in made} & set(plain)
    done = []
    for row in made:
        for left, right in re.findall(r"(\d+(?:[+-]\d+)+)=(\d+)", row["solution"]):
            assert eval(left) == int(right)  # noqa: S307
        lines = row["solution"].splitlines()
        told = behaviours(row["problem"], [("text", f"{line}\n") for line in lines], row["answer"])
        result = next(
            n for n, line in enumerate(lines) if line.endswith(f"{row['problem'][:-2]}={row['answer']}")
        )
        assert (lines[-1], told[-1]) == (f"#### {row['answer']}", "final_answer")
        after = ["verification" if "check" in line else "exploration" for line in lines[result + 1 : -1]]
        assert told[result + 1 : -1] == after
        done += [*set(after), *(["joined"] if lines[result].startswith("so ") else [])]
    assert all(55 < done.count(name) < 95 for name in ("verification", "exploration", "joined"))


def test_the_programs_of_the_tiny_world_pass_their_own_tests():
    for row in rows("made://tiny_code?rows=60"):
        assert all(called(row, row["solution"][row["solution"].index("def ") :]))


def test_a_program_without_its_last_line_fails_some_test():
    """Tests that everything passes would judge nothing."""
    failed = 0
    for row in rows("made://tiny_code?rows=60&levels=2-4"):
        *lines, _, last = row["solution"][row["solution"].index("def ") :].splitlines()
        failed += not all(called(row, "\n".join([*lines, last])))
    assert failed > 40


def test_the_programs_asked_for_in_words_pass_their_own_tests_and_are_short_enough():
    for row in rows("made://list_programs?rows=60"):
        block = re.search(r"```python\n(.*?)```", row["solution"], re.DOTALL)
        assert block is not None
        assert all(called(row, block[1]))
        assert len(row["problem"]) + len(row["solution"]) < 1400


def test_word_problems_carry_their_answer_and_their_number_of_steps():
    for row in rows("made://gsm_symbolic?rows=40"):
        assert float(row["solution"].rpartition("####")[2]) == float(row["answer"])
        steps, top = map(int, row["level"].split("/"))
        assert 1 <= steps <= top


def test_the_share_of_new_operations_is_an_option():
    known = rows("made://tiny_code?rows=40&new=0.0")
    assert not re.search(r"take|odd|even|above|below|unique|mirror|push", str(known))
    new = rows("made://tiny_code?rows=40&new=1.0")
    assert not re.search(r"reverse|sort|add|times|drop", " ".join(row["problem"] for row in new))


def test_fingerprints_follow_the_rows_not_the_spelling():
    assert made_fingerprint("made://tiny_math?rows=5") == made_fingerprint(
        "made://tiny_math?split=train&seed=0&rows=5&levels=1-4"
    )
    others = ["made://tiny_math?rows=6", "made://tiny_math?rows=5&seed=1", "made://tiny_code?rows=5"]
    assert len({made_fingerprint(uri) for uri in ["made://tiny_math?rows=5", *others]}) == 4


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("made://nothing?rows=1", "tiny_math"),
        ("made://tiny_math?rows=1&depth=2", "levels"),
        ("made://tiny_math", "rows"),
        ("made://tiny_math?rows=many", "many"),
        ("made://tiny_math?rows=5&levels=4-1", "1-4"),
        ("made://tiny_math?rows=5&split=test", "reserve"),
        ("made://tiny_math?rows=100000&levels=1", "lower rows"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_with_what_there_is(uri, told):
    with pytest.raises(RequestError, match=re.escape(told)):
        rows(uri)


def test_levels_are_one_number_or_a_range():
    assert [*levels_of("3")] == [3]
    assert [*levels_of("1-3")] == [1, 2, 3]
    with pytest.raises(ValueError, match="range"):
        levels_of("0-2")


def test_humaneval_comes_with_tests_that_its_own_solutions_pass():
    problems = rows("made://humaneval")
    assert len(problems) == 164
    row = problems[0]
    names: dict = {}
    exec(row["prompt"] + row["canonical_solution"], names)  # noqa: S102
    for check in json.loads(row["tests"])["asserts"]:
        exec(check, names)  # noqa: S102
