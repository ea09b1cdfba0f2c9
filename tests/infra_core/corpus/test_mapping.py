"""Raw rows into fields: declarative mappings and every preset, on rows made up in the published shapes."""

import json

import pytest

from infra_core.corpus.mapping import Drop, map_row, map_rows, ready
from infra_core.corpus.presets import PRESETS
from infra_core.errors import RequestError
from infra_core.recipe import ColumnMapping
from infra_core.verify.code import read_problem
from infra_core.verify.response import last_boxed


def mapped(row, **mapping):
    return map_row(row, ColumnMapping(**mapping), domain="math", source="toy")


def test_fields_are_paths_or_templates():
    row = {"title": "Sum", "body": {"text": "1+1?"}, "out": ["It is 2."], "level": 3}
    found = mapped(row, prompt="{title}: {body.text}", response="out.0", difficulty="{level}/7")
    assert (found["prompt"], found["response"], found["difficulty_raw"]) == ("Sum: 1+1?", "It is 2.", "3/7")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"p": "q"}, "no response: 'r' is missing"),
        ({"p": "q", "r": None}, "no response: 'r' is null"),
        ({"p": "q", "r": " \xa0\n"}, "no response: 'r' is empty"),
        ({"p": "q", "r": ["a"]}, "no response: 'r' is a list, not text; map a path inside it"),
        ({"p": None, "r": "a"}, "no prompt: 'p' is null"),
    ],
)
def test_a_row_without_prompt_or_response_is_dropped_with_the_evidence(row, reason):
    assert mapped(row, prompt="p", response="r") == Drop(reason)


def test_a_question_needs_no_response():
    found = map_row({"p": "q"}, ColumnMapping(prompt="p"), domain="math", source="toy", need_response=False)
    assert found["response"] == ""


def test_optional_fields_that_are_missing_are_null():
    found = mapped({"p": "q", "r": "a", "d": None}, prompt="p", response="r", answer="x", difficulty="{d}/3")
    assert (found["answer"], found["difficulty_raw"]) == (None, None)


def test_a_field_given_in_the_recipe_overrides_its_preset():
    row = {"problem": "1+1?", "solution": "2", "level": "Level 1", "hardness": "Hard"}
    assert mapped(row, preset="math", difficulty="hardness")["difficulty_raw"] == "Hard"


def test_the_license_of_a_row_goes_before_that_of_its_source():
    mapping = ColumnMapping(prompt="p", response="r", license="l")
    rows = [{"p": "q", "r": "a", "l": "MIT"}, {"p": "q", "r": "a"}]
    found = [map_row(row, mapping, domain="d", source="s", license="CC0")["license"] for row in rows]
    assert found == ["MIT", "CC0"]


def test_non_breaking_spaces_become_spaces():
    assert mapped({"p": "a\xa0b", "r": "c\xa0d"}, prompt="p", response="r")["prompt"] == "a b"


@pytest.mark.parametrize("mapping", [{"preset": "gsm9k"}, {"response": "r"}, {"prompt": "{p"}])
def test_a_mapping_that_makes_no_sense_is_refused(mapping):
    with pytest.raises(RequestError):
        ready(ColumnMapping(**mapping))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{\frac{1}{2}} or \boxed{3}", "3"),
        (r"\boxed{4} and then \boxed{5", "4"),
        (r"}} \boxed{ a } {", "a"),
        (r"\framebox{204} minutes", "204"),
        ("nothing", None),
    ],
)
def test_the_last_closed_box_is_the_answer(text, found):
    assert last_boxed(text) == found


def test_gsm8k_loses_its_calculator_marks_and_gives_its_number():
    row = {"question": "6*7?", "answer": "It is 6*7=<<6*7=42>>42.\n#### 1,042"}
    found = mapped(row, preset="gsm8k")
    assert found["response"] == "It is 6*7=42.\n#### 1,042"
    assert found["answer"] == "1042"


def test_math_reads_level_and_box():
    found = mapped({"problem": "p", "solution": r"so \boxed{7}.", "level": "Level 2"}, preset="math")
    assert (found["answer"], found["difficulty_raw"]) == ("7", "Level 2")


def test_math500_states_the_scale_of_its_bare_level():
    found = mapped({"problem": "p", "solution": "s", "answer": "7", "level": 4}, preset="math500")
    assert found["difficulty_raw"] == "Level 4"


def test_eight_samples_give_the_first_correct_chain():
    row = {"question": "q", "gt": "1", "level": "Level 1", "code": ["a", "b"], "score": [False, True]}
    assert mapped(row, preset="math_8_samples")["response"] == "b"
    assert mapped(row | {"score": [False, False]}, preset="math_8_samples") == Drop(
        "no response: of 2 sampled 2 incorrect"
    )


def test_leetcode_carries_a_check_that_runs_by_itself():
    row = {
        "task_id": "twice", "query": "Double n.", "response": "code", "difficulty": "Meidum",
        "prompt": "import math\n", "entry_point": "Solution().twice",
        "test": "def check(candidate):\n    assert candidate(n = 2) == 4\n",
    }  # fmt: skip
    found = mapped(row, preset="leetcode")
    tests = json.loads(found["tests"])
    scope: dict = {}
    exec(tests["setup"] + "class Solution:\n    def twice(self, n):\n        return 2 * n\n", scope)  # noqa: S102
    for check in tests["asserts"]:
        exec(check, scope)  # noqa: S102
    assert (tests["kind"], found["group"], found["difficulty_raw"]) == ("asserts", "twice", "Meidum")


def test_mbpp_shows_and_carries_its_assertions():
    row = {
        "task_id": 2,
        "prompt": "p",
        "code": "c",
        "test_list": ["assert f(1) == 2"],
        "test_imports": ["import re"],
    }
    found = mapped(row, preset="mbpp")
    assert found["prompt"] == "p\n\nYour code should pass these tests:\n\nassert f(1) == 2"
    tests = json.loads(found["tests"])
    assert tests == {"kind": "asserts", "setup": "import re", "asserts": ["assert f(1) == 2"]}


def test_aime_takes_its_difficulty_from_the_problem_number():
    row = {
        "problem": "p",
        "solution": "s",
        "answer": "073",
        "url": "https://x/2024_AIME_I_Problems/Problem_12",
    }
    found = mapped(row, preset="aime24")
    assert (found["answer"], found["difficulty_raw"]) == ("073", "12/15")


def test_bespoke_stratos_takes_the_exchange_and_the_boxed_answer():
    response = (
        "<|begin_of_thought|>\nhm\n<|end_of_thought|>\n<|begin_of_solution|>\\boxed{9}<|end_of_solution|>"
    )
    row = {
        "system": "long",
        "conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": response}],
    }
    found = mapped(row, preset="bespoke_stratos")
    assert (found["prompt"], found["response"], found["answer"]) == ("q", response, "9")


def test_openr1_takes_the_first_complete_and_correct_generation():
    row = {
        "problem": "p", "answer": "1", "uuid": "u", "generations": ["a", "b", "c"],
        "is_reasoning_complete": [False, True, True], "correctness_math_verify": [True, False, True],
        "correctness_llama": None,
    }  # fmt: skip
    assert mapped(row, preset="openr1_math")["response"] == "c"
    wrong = row | {"correctness_math_verify": [True, False, False]}
    assert mapped(wrong, preset="openr1_math") == Drop("no response: of 3 sampled 1 incomplete, 2 incorrect")


def every(row, **mapping):
    return map_rows(row, ready(ColumnMapping(**mapping)), domain="math", source="toy")


def test_every_right_response_becomes_an_example_if_the_recipe_says_so():
    row = {
        "question": "q",
        "gt": "1",
        "level": "Level 1",
        "code": ["a", "b", "c"],
        "score": [True, False, True],
    }
    found = every(row, preset="math_8_samples", take="all")
    assert [one["response"] for one in (found[0], found[2])] == ["a", "c"]
    assert found[1] == Drop("incorrect: score is not true")
    assert {one["prompt"] for one in (found[0], found[2])} == {"q"}


@pytest.mark.parametrize("flags", [[False, True, True], ["no", "yes", "true"], [0, 1, 1.0]])
def test_a_new_corpus_of_sampled_responses_needs_no_code(flags):
    row = {"p": "q", "said": ["a", "b", "c"], "right": flags}
    plain = {"prompt": "p", "response": "said"}
    assert mapped(row, **plain, correct="right")["response"] == "b"
    each = every(row, **plain, correct="right", take="all")
    assert each[0] == Drop("incorrect: by its own source")
    assert [one["response"] for one in each[1:]] == ["b", "c"]
    assert [one["response"] for one in every(row, **plain, take="all")] == ["a", "b", "c"]
    assert "a list, not text" in mapped(row, **plain).reason, "a list is not taken for one by accident"
    uneven = row | {"right": [True]}
    assert mapped(uneven, **plain, correct="right") == Drop("no response: 3 of 'said' and 1 of 'right'")


def test_openthoughts_is_read_in_both_configurations():
    said = "<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>\\boxed{9}<|end_of_solution|>"
    turns = [{"from": "user", "value": "q"}, {"from": "assistant", "value": said}]
    found = mapped({"system": "long", "conversations": turns}, preset="openthoughts")
    assert (found["prompt"], found["response"], found["answer"]) == ("q", said, "9")
    row = {
        "problem": "q", "deepseek_reasoning": "hm", "deepseek_solution": "so 9",
        "ground_truth_solution": "\\boxed{9}", "domain": "math", "source": "x", "test_cases": "",
    }  # fmt: skip
    found = mapped(row, preset="openthoughts")
    assert (found["response"], found["answer"]) == ("<think>\nhm\n</think>\n\nso 9", "9")


def test_limo_numina_and_metamath_give_their_answers():
    limo = mapped({"question": "q", "solution": "s", "answer": "128"}, preset="limo")
    numina = mapped(
        {"source": "olympiads", "problem": "q", "solution": "so \\boxed{7}", "messages": []},
        preset="numina_cot",
    )
    metamath = mapped(
        {
            "type": "GSM_Rephrased",
            "query": "q",
            "original_question": "o",
            "response": "2+2=4\n#### 4\nThe answer is: 4",
        },
        preset="metamath",
    )
    assert [row["answer"] for row in (limo, numina, metamath)] == ["128", "7", "4"]
    assert metamath["group"] == "o"


def test_s1k_gives_the_trace_that_was_graded_right():
    row = {
        "question": "q", "solution": "128", "cot_type": "math", "source_type": "x", "metadata": "{}",
        "gemini_thinking_trajectory": "g", "gemini_attempt": "G", "gemini_grade": "Yes",
        "deepseek_thinking_trajectory": "d", "deepseek_attempt": "D", "deepseek_grade": "No",
    }  # fmt: skip
    found = mapped(row, preset="s1k")
    assert (found["response"], found["answer"]) == ("<think>\ng\n</think>\n\nG", "128")
    assert len(every(row | {"deepseek_grade": "Yes"}, preset="s1k", take="all")) == 2
    first = {
        "question": "q",
        "solution": "long \\boxed{1}",
        "thinking_trajectories": ["t"],
        "attempt": "A",
        "cot": None,
    }
    found = mapped(first, preset="s1k")
    assert (found["response"], found["answer"]) == ("<think>\nt\n</think>\n\nA", "1")


def test_oss_instruct_is_a_problem_and_a_solution():
    row = {
        "lang": "python",
        "raw_index": 1,
        "index": 2,
        "seed": "s",
        "openai_fingerprint": "f",
        "problem": "p",
        "solution": "c",
    }
    found = mapped(row, preset="oss_instruct")
    assert (found["prompt"], found["response"]) == ("p", "c")


@pytest.mark.parametrize(("preset", "label"), [("apps", "interview"), ("taco", "MEDIUM_HARD")])
def test_competition_problems_carry_tests_that_the_judge_reads(preset, label):
    stdin = {"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["7"]]}
    row = {
        "question": "Add.", "solutions": json.dumps(["print(sum(map(int, input().split())))", "x"]),
        "input_output": json.dumps(stdin), "difficulty": label, "starter_code": "", "url": "u",
    }  # fmt: skip
    found = mapped(row, preset=preset)
    assert found["response"] == "```python\nprint(sum(map(int, input().split())))\n```"
    assert (found["prompt"], found["difficulty_raw"]) == ("Add.", label)
    problem = read_problem(found["tests"])
    assert [case.stdin for case in problem.cases] == ["1 2\n", "3\n4"]
    assert len(every(row, preset=preset, take="all")) == 2
    call = {"fn_name": "twice", "inputs": [[2]], "outputs": [4]}
    starter = "class Solution:\n    def twice(self, n: int) -> int:"
    found = mapped(row | {"input_output": json.dumps(call), "starter_code": starter}, preset=preset)
    assert read_problem(found["tests"]).entry == "Solution().twice"
    assert starter in found["prompt"]
    assert mapped(row | {"input_output": "", "solutions": "[]"}, preset=preset) == Drop(
        "no response: 'solutions' is empty"
    )
    assert mapped(row | {"input_output": "{"}, preset=preset)["tests"] is None


def test_code_contests_gives_a_python_solution_and_its_rating():
    row = {
        "name": "1_A. Add", "description": "Add.", "source": 2, "difficulty": 7, "cf_rating": 1900,
        "public_tests": {"input": ["1 2\n"], "output": ["3\n"]}, "private_tests": {"input": [], "output": []},
        "generated_tests": {"input": ["5 5\n"], "output": ["10\n"]},
        "solutions": {"language": [2, 3, 1], "solution": ["int main(){}", "print(3)", "print 3"]},
    }  # fmt: skip
    found = mapped(row, preset="code_contests")
    assert (found["response"], found["difficulty_raw"]) == ("```python\nprint(3)\n```", "12/28")
    assert len(read_problem(found["tests"]).cases) == 1
    assert mapped(row | {"cf_rating": 0}, preset="code_contests")["difficulty_raw"] is None
    cpp = row | {"solutions": {"language": [2], "solution": ["int main(){}"]}}
    assert mapped(cpp, preset="code_contests") == Drop("no response: none of 1 solutions is in Python 3")


def test_alpaca_joins_instruction_and_input():
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert mapped(row, preset="alpaca")["prompt"] == "Add.\n\n1 2"
    assert mapped(row | {"input": ""}, preset="alpaca")["prompt"] == "Add."


@pytest.mark.parametrize(
    ("preset", "column", "role", "content", "names"),
    [
        ("messages", "messages", "role", "content", "user assistant"),
        ("sharegpt", "conversations", "from", "value", "human gpt"),
    ],
)
def test_chats_keep_their_system_text_in_the_prompt(preset, column, role, content, names):
    turns = zip(["system", *names.split()], ["Be brief.", "q", "a"], strict=True)
    found = mapped({column: [{role: name, content: text} for name, text in turns]}, preset=preset)
    assert (found["prompt"], found["response"]) == ("Be brief.\n\nq", "a")


def test_a_longer_chat_is_dropped_rather_than_cut():
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")]
    assert mapped({"messages": turns}, preset="messages") == Drop(
        "not one question and one answer: the turns are user assistant user assistant"
    )


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("value", [None, 3, [], ["x"], {"a": 1}, "", [None], [{"from": None}]])
def test_no_preset_trips_over_a_hostile_value(preset, value):
    """Each needed column holds the value; the row is mapped or dropped, never an exception."""
    columns = ready(ColumnMapping(preset=preset)).columns()
    found = mapped(dict.fromkeys(columns, value), preset=preset)
    assert isinstance(found, (dict, Drop))
