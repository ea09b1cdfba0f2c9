"""The tiny world: graded sums and graded list programs that a character-level model learns in minutes."""

from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from string import ascii_lowercase
from typing import Any

from infra_core.sources.made_programs import KNOWN, NEW, Operation, draw, function_tests
from infra_core.sources.made_splits import Draft, graded
from infra_core.sources.made_sums import Sum, digits, draw_sum

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


def tiny_thoughts(
    rows: int,
    levels: str = f"1-{TOP_LEVEL}",
    seed: int = 0,
    split: str = "train",
    minus: float = 0.5,
    share: float = 0.5,
) -> Iterator[dict[str, Any]]:
    """Make the sums of `tiny_math`, told as thoughts, in which the result is said before it is handed over.

    A `share` of the rows joins its lines by words; as many, drawn apart, check the last step by its inverse
    once the result is there; as many go on, adding the same terms in another order.
    """
    made = partial(_thought, minus=minus, share=share)
    return graded(made, rows=rows, levels=levels, seed=seed, split=split)


def _sum(level: int, random: Random, *, minus: float) -> Draft:
    drawn = draw_sum(level, random, minus=minus)
    return Draft(f"{drawn}=?", lambda: _row_of_sum(drawn, drawn.worked()))


def _thought(level: int, random: Random, *, minus: float, share: float) -> Draft:
    drawn = draw_sum(level, random, minus=minus)
    return Draft(f"{drawn}=?", lambda: _row_of_sum(drawn, _thoughts(drawn, share, random)))


def _row_of_sum(drawn: Sum, lines: Sequence[str]) -> dict[str, Any]:
    total = drawn.totals[-1]
    return {
        "problem": f"{drawn}=?",
        "solution": "\n".join([*lines, f"#### {total}"]),
        "answer": str(total),
        "tests": None,
        "level": f"{len(drawn.signs)}/{TOP_LEVEL}",
    }


def _thoughts(drawn: Sum, share: float, random: Random) -> list[str]:
    *_, before, total = drawn.totals
    joins, checks, explores = (random.random() < share for _ in range(3))
    afterwards = []
    if checks:
        inverse, term = {"+": "-", "-": "+"}[drawn.signs[-1]], drawn.terms[-1]
        work = digits(total, inverse, term)
        afterwards.append(([f"check {total}{inverse}{term}={before}: {work}"], ""))
    if explores and (others := drawn.others()):
        afterwards.append((random.choice(others).worked(), "or"))
    random.shuffle(afterwards)
    told = [(drawn.worked(), ""), ([f"{drawn}={total}"], "so"), *afterwards]
    return [line for lines, word in told for line in (_joined(word, lines) if joins else lines)]


def _joined(word: str, lines: Sequence[str]) -> list[str]:
    """Begin the first line with a word, and the others with *then*."""
    words = [word, *["then"] * (len(lines) - 1)]
    return [f"{begin} {line}".lstrip() for begin, line in zip(words, lines, strict=True)]


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
