"""The tiny world: graded sums and graded list programs that a character-level model learns in minutes."""

from collections.abc import Iterator
from functools import partial
from random import Random
from string import ascii_lowercase
from typing import Any

from infra_core.sources.made_programs import KNOWN, NEW, draw, function_tests
from infra_core.sources.made_splits import Draft, graded

TOP_LEVEL = 4


def tiny_math(
    rows: int, levels: str = f"1-{TOP_LEVEL}", seed: int = 0, split: str = "train"
) -> Iterator[dict[str, Any]]:
    """Make sums of `level` + 1 terms, worked out digit by digit with carries and borrows."""
    return graded(_sum, rows=rows, levels=levels, seed=seed, split=split)


def tiny_code(
    rows: int, levels: str = f"1-{TOP_LEVEL}", seed: int = 0, split: str = "train", new: float = 0.5
) -> Iterator[dict[str, Any]]:
    """Make programs of `level` list operations; `new` is the share of operations the base was not taught."""
    return graded(partial(_program, new=new), rows=rows, levels=levels, seed=seed, split=split)


def _sum(level: int, random: Random) -> Draft:
    total = random.randint(10, 99)
    expression, lines = str(total), []
    for _ in range(level):
        sign, term = _next_term(total, random)
        line, total = _worked(total, sign, term)
        expression += f"{sign}{term}"
        lines.append(line)
    row = {
        "problem": f"{expression}=?",
        "solution": "\n".join([*lines, f"#### {total}"]),
        "answer": str(total),
        "tests": None,
        "level": f"{level}/{TOP_LEVEL}",
    }
    return Draft(f"{expression}=?", lambda: row)


def _next_term(total: int, random: Random) -> tuple[str, int]:
    # Running totals stay between 0 and 99, so that every step has two digits to work out.
    room = {"+": 99 - total, "-": total}
    sign = random.choice([sign for sign, most in room.items() if most >= 10])
    return sign, random.randint(10, room[sign])


def _worked(total: int, sign: str, term: int) -> tuple[str, int]:
    """Return a line such as ``47+38: 7+8=15, 4+3+1=8, 85`` and its result."""
    (tens, ones), (more_tens, more_ones) = divmod(total, 10), divmod(term, 10)
    if sign == "+":
        over = int(ones + more_ones > 9)
        low = ones + more_ones
        high = tens + more_tens + over
    else:
        over = int(ones < more_ones)
        ones += 10 * over
        low = ones - more_ones
        high = tens - more_tens - over
    result = 10 * high + low % 10
    first = f"{ones}{sign}{more_ones}={low}"
    second = f"{tens}{sign}{more_tens}{f'{sign}1' if over else ''}={high}"
    return f"{total}{sign}{term}: {first}, {second}, {result}", result


def _program(level: int, random: Random, *, new: float) -> Draft:
    chosen = [draw(NEW if random.random() < new else KNOWN, random) for _ in range(level)]
    # Names keep single operations from running out before all splits have their share of them.
    entry = random.choice(ascii_lowercase) + str(random.randint(0, 9))
    problem = f"{entry}(x): {', '.join(operation.name for operation in chosen)}"

    def finish() -> dict[str, Any]:
        plan = [f"{place}. {operation.name}" for place, operation in enumerate(chosen, start=1)]
        program = "\n ".join([f"def {entry}(x):", *(operation.code for operation in chosen), "return x"])
        return {
            "problem": problem,
            "solution": "\n".join([*plan, program]),
            "answer": None,
            "tests": function_tests(program, entry, random),
            "level": f"{level}/{TOP_LEVEL}",
        }

    return Draft(problem, finish)
