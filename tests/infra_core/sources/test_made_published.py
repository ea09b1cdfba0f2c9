"""Stand-ins have the columns, nesting and traps of the sets that they stand for."""

import json
import subprocess
import sys

import pytest

from infra_core.corpus.benchmark_presets import BENCHMARKS
from infra_core.sources.made import made_rows


def test_bespoke_stratos_has_turns_with_marked_thought_and_solution():
    rows = list(made_rows("made://standin_bespoke_stratos?rows=9"))
    asked = [row["conversations"][0]["value"] for row in rows]
    assert sum("final response within \\boxed" in text for text in asked) == 5
    assert sum("executable Python function" in text for text in asked) == 4
    for row in rows:
        assert [turn["from"] for turn in row["conversations"]] == ["user", "assistant"]
        said = row["conversations"][1]["value"]
        marks = ["<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>", "<|end_of_solution|>"]
        assert sorted(marks, key=said.index) == marks


def test_openr1_math_has_generations_of_which_some_are_cut_or_wrong():
    rows = list(made_rows("made://standin_openr1_math?rows=30"))
    for row in rows:
        answer = f"\\boxed{{{row['answer']}}}"
        assert [answer in said for said in row["generations"]] == row["correctness_math_verify"]
        assert ["</think>" in said for said in row["generations"]] == row["is_reasoning_complete"]
        assert row["correctness_count"] == sum(row["correctness_math_verify"])
    assert {tuple(row["is_reasoning_complete"]) for row in rows} == {(True, True), (False, True)}
    assert len({row["uuid"] for row in rows}) == 30


def test_aime_answers_are_three_digits_and_problems_are_numbered_by_difficulty():
    rows = list(made_rows("made://standin_aime?rows=30"))
    assert all(len(row["answer"]) == 3 and row["answer"].isdigit() for row in rows)
    numbers = [int(row["url"].rpartition("_")[2]) for row in rows]
    assert set(numbers) == set(range(1, 16))
    assert all(
        row["problem"].count("cdot") == (number - 1) // 3 + 1
        for row, number in zip(rows, numbers, strict=True)
    )


def test_code_answers_print_what_the_stdin_tests_expect():
    row = next(made_rows("made://standin_livecodebench?rows=4"))
    answer = next(made_rows("made://standin_open_code_reasoning?rows=1&split=exam"))
    assert answer["input"] == row["question_content"]
    for case in json.loads(row["public_test_cases"]):
        ran = subprocess.run(
            [sys.executable, "-I", "-c", answer["solution"]],
            input=case["input"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == case["output"]


def test_livecodebench_asks_for_programs_and_for_methods():
    rows = list(made_rows("made://standin_livecodebench?rows=4"))
    assert [json.loads(row["metadata"]).get("func_name") for row in rows] == [None, "solve", None, "solve"]
    assert [bool(row["starter_code"]) for row in rows] == [False, True, False, True]
    for row in rows:
        for case in json.loads(row["public_test_cases"]):
            assert case["testtype"] == ("functional" if row["starter_code"] else "stdin")


def test_gsm8k_ends_with_its_answer_behind_four_hashes():
    for row in made_rows("made://standin_gsm8k?rows=9"):
        steps, _, answer = row["answer"].rpartition("#### ")
        assert answer == str(int(answer))
        assert steps.rstrip().endswith(f"leaves ${answer}$.")


def test_mbpp_functions_pass_the_assertions_that_are_shown():
    rows = list(made_rows("made://standin_mbpp?rows=6"))
    for row in rows:
        assert len(row["test_list"]) == 3
        program = "\n".join([row["code"], *row["test_list"]])
        subprocess.run([sys.executable, "-I", "-c", program], check=True)


def test_limo_ends_in_its_answer():
    for row in made_rows("made://standin_limo?rows=9"):
        assert set(row) == {"question", "solution", "answer"}
        assert row["solution"].endswith(f"\\boxed{{{row['answer']}}}$.")


def test_amc_answers_are_floats():
    assert all(isinstance(row["answer"], float) for row in made_rows("made://standin_amc?rows=9"))


def test_olympiadbench_answers_are_lists_and_some_are_several():
    rows = list(made_rows("made://standin_olympiadbench?rows=10"))
    assert [len(row["final_answer"]) for row in rows] == [1, 1, 1, 1, 2] * 2
    assert [row["is_multiple_answer"] for row in rows] == [len(row["final_answer"]) > 1 for row in rows]


def test_gpqa_has_four_different_choices():
    for row in made_rows("made://standin_gpqa?rows=9"):
        assert len({text for name, text in row.items() if "Answer" in name}) == 4


@pytest.mark.parametrize("preset", ["amc23", "olympiadbench", "gpqa"])
def test_stand_ins_have_what_their_preset_asks_for(preset):
    for row in made_rows(f"made://standin_{preset.removesuffix('23')}?rows=3"):
        assert set(BENCHMARKS[preset].needs) <= set(row)
