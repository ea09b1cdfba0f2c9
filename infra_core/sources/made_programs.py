"""Programs over lists of integers, composed of named operations: what the code domain is made of."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple


class Operation(NamedTuple):
    """A list operation: its short name, what it does in words and in Python, and numbers it may be given."""

    name: str
    words: str
    code: str
    numbers: Sequence[int] = ()

    def given(self, k: int) -> "Operation":
        """Return the operation with its number filled in."""
        return Operation(self.name.format(k=k), self.words.format(k=k), self.code.format(k=k))


KNOWN = (
    Operation("reverse", "reverse the list", "x=x[::-1]"),
    Operation("sort", "sort it in ascending order", "x=sorted(x)"),
    Operation("add {k}", "add {k} to every number", "x=[v+{k} for v in x]", range(1, 10)),
    Operation("times {k}", "multiply every number by {k}", "x=[v*{k} for v in x]", range(2, 10)),
    Operation("drop {k}", "remove the first {k} numbers", "x=x[{k}:]", range(1, 4)),
)
"""What the tiny base model is taught."""

NEW = (
    Operation("take {k}", "keep only the first {k} numbers", "x=x[:{k}]", range(1, 6)),
    Operation("odd", "keep only the odd numbers", "x=[v for v in x if v%2]"),
    Operation("even", "keep only the even numbers", "x=[v for v in x if v%2==0]"),
    Operation("above {k}", "keep only numbers above {k}", "x=[v for v in x if v>{k}]", range(1, 10)),
    Operation("below {k}", "keep only numbers below {k}", "x=[v for v in x if v<{k}]", range(1, 10)),
    Operation("unique", "remove repeated numbers", "x=list(dict.fromkeys(x))"),
    Operation("mirror", "append the list in reverse to itself", "x=x+x[::-1]"),
    Operation("push {k}", "append the number {k}", "x=x+[{k}]", range(1, 10)),
)
"""What fine-tuning the tiny model adds."""

NOUNS = (
    *("ages", "amounts", "counts", "costs", "depths", "heights", "hours", "items", "lengths", "marks"),
    *("numbers", "points", "prices", "ranks", "ratings", "readings", "scores", "sizes", "speeds", "totals"),
)
"""What the numbers may be called, so that single operations do not run out."""


def draw(operations: Sequence[Operation], random: Random) -> Operation:
    """Draw one operation and its number."""
    operation = random.choice(operations)
    return operation.given(random.choice(operation.numbers) if operation.numbers else 0)


def function_tests(program: str, entry: str, random: Random, *, cases: int = 6) -> str:
    """Return tests of a program that is right by definition: its results on random lists, as JSON."""
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - composed of the lines above, nothing from outside
    inputs = [[random.randint(-9, 9) for _ in range(random.randint(4, 7))] for _ in range(cases)]
    expected = [names[entry](list(given)) for given in inputs]
    return json.dumps({
        "kind": "function",
        "entry": entry,
        "cases": [
            {"args": [given], "expected": result} for given, result in zip(inputs, expected, strict=True)
        ],
    })
