"""The tiny world: graded sums and graded list programs that a character-level model learns in minutes."""

from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from string import ascii_lowercase
from typing import Any

from infra_core.sources.made_programs import KNOWN, NEW, Operation, draw, function_tests
from infra_core.sources.made_splits import Draft, graded

TOP_LEVEL = 4


def tiny_math(
    rows: int, levels: str = f"1-{TOP_LEVEL}", seed: int = 0, split: str = "train", minus: float = 0.5
) -> Iterator[dict[str, Any]]:
    """Make sums of `level` + 1 terms, worked out digit by digit; `minus` is the share of subtractions."""
    return graded(partial(_sum, minus=minus), rows=rows, levels=levels, seed=seed, split=split)


def tiny_code(
    rows: int, levels: str = f"1-{TOP_LEVEL}", seed: int = 0, split: str = "train", new: float = 0.5
) -> Iterator[dict[str, Any]]:
    """Make programs of `level` list operations; `new` is the share of operations the base was not taught."""
    return graded(partial(_program, new=new), rows=rows, levels=levels, seed=seed, split=split)


def _sum(level: int, random: Random, *, minus: float) -> Draft:
    signs = ["-" if random.random() < minus else "+" for _ in range(level)]
    terms = None
    while terms is None:
        terms = _terms(signs, random)
    total, lines = terms[0], []
    for place, sign in enumerate(signs):
        # Every line says again what is left to do, so that the next one need not look further back.
        left = "".join(f"{sign}{term}" for sign, term in zip(signs[place:], terms[place + 1 :], strict=True))
        worked, result = _worked(total, sign, terms[place + 1])
        lines.append(f"{total}{left}: {worked}")
        total = result
    problem = f"{terms[0]}{''.join(f'{sign}{term}' for sign, term in zip(signs, terms[1:], strict=True))}=?"
    row = {
        "problem": problem,
        "solution": "\n".join([*lines, f"#### {total}"]),
        "answer": str(total),
        "tests": None,
        "level": f"{level}/{TOP_LEVEL}",
    }
    return Draft(problem, lambda: row)


def _terms(signs: Sequence[str], random: Random) -> list[int] | None:
    """Draw two-digit terms whose running totals stay between 0 and 99, or None if they come to a dead end."""
    total = random.randint(10, 99 - 10 * signs.count("+"))
    terms = [total]
    for place, sign in enumerate(signs):
        room = total if sign == "-" else 99 - total - 10 * signs[place + 1 :].count("+")
        if room < 10:
            return None
        terms.append(random.randint(10, room))
        total += -terms[-1] if sign == "-" else terms[-1]
    return terms


def _worked(total: int, sign: str, term: int) -> tuple[str, int]:
    """Return the digits' work, such as ``7+8=15, 4+3+1=8`` for 47+38, and the result."""
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
    first = f"{ones}{sign}{more_ones}={low}"
    second = f"{tens}{sign}{more_tens}{f'{sign}1' if over else ''}={high}"
    return f"{first}, {second}", 10 * high + low % 10


def _program(level: int, random: Random, *, new: float) -> Draft:
    chosen = [draw(NEW if random.random() < new else KNOWN, random) for _ in range(level)]
    # Names keep single operations from running out before all splits have their share of them.
    entry = random.choice(ascii_lowercase) + str(random.randint(0, 9))
    problem = f"{entry}(x): {', '.join(operation.name for operation in chosen)}"
    return Draft(problem, partial(_worked_program, problem, entry, chosen, random))


def _worked_program(problem: str, entry: str, chosen: Sequence[Operation], random: Random) -> dict[str, Any]:
    plan = [f"{place}. {operation.name}" for place, operation in enumerate(chosen, start=1)]
    program = "\n ".join([f"def {entry}(x):", *(operation.code for operation in chosen), "return x"])
    return {
        "problem": problem,
        "solution": "\n".join([*plan, program]),
        "answer": None,
        "tests": function_tests(program, entry, random),
        "level": f"{len(chosen)}/{TOP_LEVEL}",
    }
