"""LiveCodeBench rows, in their published shape, become problems the sandbox can judge."""

import json

from infra_core.corpus.mapping import Drop, map_row
from infra_core.recipe import ColumnMapping
from infra_core.verify.judge import Candidate, judge_answers

STDIN = {
    "question_content": "Double the number.",
    "starter_code": "",
    "difficulty": "easy",
    "question_id": "q1",
    "metadata": "{}",
    "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
}
FUNCTION = STDIN | {
    "starter_code": "class Solution:\n    def add(self, a: int, b: int) -> int:\n        ",
    "metadata": json.dumps({"func_name": "add"}),
    "public_test_cases": json.dumps([{"input": "2\n3", "output": "5", "testtype": "functional"}]),
}


def mapped(raw):
    mapping = ColumnMapping(preset="livecodebench")
    return map_row(raw, mapping, domain="code", source="lcb", need_response=False)


def verdict(raw, response):
    return judge_answers("code", [Candidate(response, None, mapped(raw)["tests"])])[0]


def test_a_stdin_problem_is_judged_by_its_output():
    assert verdict(STDIN, "```python\nprint(2*int(input()))\n```").correct
    assert not verdict(STDIN, "```python\nprint(int(input()))\n```").correct


def test_a_method_of_solution_is_called_with_its_arguments():
    good = "```python\nclass Solution:\n    def add(self, a, b):\n        return a + b\n```"
    assert verdict(FUNCTION, good).correct
    assert not verdict(FUNCTION, good.replace("+", "-")).correct


def test_the_starter_code_is_part_of_the_question():
    assert mapped(FUNCTION)["prompt"].endswith(FUNCTION["starter_code"])


def test_tests_that_cannot_be_read_drop_the_question_with_the_reason():
    dropped = mapped(STDIN | {"public_test_cases": "not json"})
    assert isinstance(dropped, Drop)
    assert "public_test_cases" in dropped.reason
