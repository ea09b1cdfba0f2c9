"""Problems in words with worked solutions, for models that already speak."""

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

from infra_core.sources.made_programs import KNOWN, NEW, NOUNS, Operation, draw, function_tests
from infra_core.sources.made_splits import Draft, graded, split_of

_MOST_STEPS = 8
_TOP_LEVEL = 6
_VERBS = ("adjust", "arrange", "change", "convert", "process", "rework", "shape", "transform")


def gsm_symbolic(rows: int, seed: int = 0, split: str = "train") -> Iterator[dict[str, Any]]:
    """Make word problems of reasoning-gym's `gsm_symbolic`; the level is the number of worked lines."""
    import reasoning_gym  # takes seconds, and only these rows need it

    drawn = reasoning_gym.create_dataset("gsm_symbolic", seed=seed, size=1_000_000)
    return itertools.islice(_different(drawn, split), rows)


def _different(drawn: Any, split: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for number in itertools.count():
        entry = drawn[number]
        problem = entry["question"].removesuffix(
            " Give the result as your final answer. Do not include units."
        )
        if problem in seen or split_of(problem) != split:
            continue
        seen.add(problem)
        # Whole numbers that went through a division are written 26.0 there.
        worked = re.sub(r"(\d)\.0(?!\d)", r"\1", entry["metadata"]["answer_cot"])
        steps = sum(1 for line in worked.splitlines() if "=" in line)
        yield {
            "problem": problem,
            "solution": worked,
            "answer": entry["answer"],
            "tests": None,
            "level": f"{min(max(steps, 1), _MOST_STEPS)}/{_MOST_STEPS}",
        }


def list_programs(
    rows: int, levels: str = f"1-{_TOP_LEVEL}", seed: int = 0, split: str = "train"
) -> Iterator[dict[str, Any]]:
    """Make functions over lists asked for in words, planned step by step, then written in Python."""
    return graded(_program, rows=rows, levels=levels, seed=seed, split=split)


def _program(level: int, random: Random) -> Draft:
    chosen = [draw((*KNOWN, *NEW), random) for _ in range(level)]
    entry = f"{random.choice(_VERBS)}_{random.choice(NOUNS)}"
    wanted = ", then ".join(operation.words for operation in chosen)
    problem = (
        f"Write a Python function `{entry}(x)` that takes a list of integers. It should {wanted}. "
        "It returns the resulting list."
    )
    return Draft(problem, partial(_worked_program, problem, entry, chosen, random))


def _worked_program(problem: str, entry: str, chosen: Sequence[Operation], random: Random) -> dict[str, Any]:
    body = [_spaced(operation.code) for operation in chosen]
    steps = zip(chosen, body, strict=True)
    plan = [f"{place}. To {step.words}: `{code}`" for place, (step, code) in enumerate(steps, 1)]
    program = "\n    ".join([f"def {entry}(x):", *body, "return x"])
    said = ["Let me go through the steps in order.", *plan, "", "```python", program, "```"]
    return {
        "problem": problem,
        "solution": "\n".join(said),
        "answer": None,
        "tests": function_tests(program, entry, random),
        "level": f"{len(chosen)}/{_TOP_LEVEL}",
    }


def _spaced(code: str) -> str:
    return code.replace("x=", "x = ", 1)
