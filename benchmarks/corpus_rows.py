"""A corpus made for measuring: problems in random words, planted duplicates, leaked questions, siblings.

Every problem is one of a kind: no template made it, so whatever is flagged beside what was planted is a
false alarm. Two kinds of row are there to raise them: `boilerplate` ends as many questions of the benchmark
do, and `sibling` shares half of a question's text and asks for something else.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path
from random import Random

from benchmarks.planted import EDITS

ROWS_PER_FILE = 50_000
QUESTIONS = 500
SOURCES = ("ours", "copies")
RESPONSE_WORDS = 140  # a row is 1.1 kB
DUPLICATE, LEAKED, HARD = 0.05, 0.02, 0.02  # shares of all rows
REMEMBERED = 2_000  # rows that a later one may be a duplicate of
ENDING = "where $m$ and $n$ are relatively prime positive integers. Find $m+n$."
Row = dict[str, object]


@dataclass(frozen=True)
class Corpus:
    """Where a made corpus lies.

    Attributes
    ----------
    train
        Folder of JSONL files: ``ours`` below it, and ``copies``, a second source with the duplicates.
    questions
        JSONL file of the benchmark.
    truth
        JSONL file: `id`, `kind`, `edit` and `of` for every planted row.
    """

    train: Path
    questions: Path
    truth: Path
    rows: int


@cache
def vocabulary() -> tuple[str, ...]:
    """Return 2,500 words of two syllables that are in no dictionary."""
    syllables = ["".join(letters) for letters in product("bdfgklmnpt", "aeiou")]
    return tuple("".join(pair) for pair in product(syllables, repeat=2))


def problem(random: Random, length: int = 45) -> str:
    """Return a problem nobody ever asked: words, three numbers and a formula."""
    words = random.choices(vocabulary(), k=length)
    for place in (length // 3, length // 2, length - 4):
        words[place] = str(random.randint(2, 9999))
    a, b = random.randint(2, 99), random.randint(2, 99)
    letter, other = random.sample("bcdkpqrstuvwxyz", 2)
    half = " ".join(words[: length // 2]).capitalize()
    rest = " ".join(words[length // 2 :])
    formula = f"$\\frac{{{a}{letter}}}{{{b}}}+{other}=({a}-{letter})$"
    return f"{half} {formula} where {rest}. What is ${letter}+{other}$?"


def solution(random: Random, answer: str = "") -> tuple[str, str]:
    """Return a response of some hundred words, and its answer: the one given, or any."""
    words = random.choices(vocabulary(), k=RESPONSE_WORDS)
    answer = answer or str(random.randint(0, 99_999))
    lines = [" ".join(words[start : start + 20]) + "." for start in range(0, RESPONSE_WORDS, 20)]
    return "\n".join(["<think>", *lines, "</think>", f"The answer is $\\boxed{{{answer}}}$."]), answer


def write(folder: Path, rows: int, seed: int = 0) -> Corpus:
    """Write a corpus of so many rows and its benchmark, the same for the same seed."""
    corpus = Corpus(folder / "train", folder / "questions.jsonl", folder / "truth.jsonl", rows)
    for source in SOURCES:
        Path(corpus.train, source).mkdir(parents=True)
    questions = list(_questions(Random(f"{seed}/questions")))  # noqa: S311 - not for secrets
    corpus.questions.write_text("".join(json.dumps(row) + "\n" for row in questions))
    made = _rows(rows, [str(row["problem"]) for row in questions], Random(f"{seed}/rows"))  # noqa: S311
    with corpus.truth.open("w") as truth:
        for number in range(-(-rows // ROWS_PER_FILE)):
            part = list(islice(made, ROWS_PER_FILE))
            for source in SOURCES:
                mine = [row for row, what in part if (what["kind"] == "duplicate") == (source == "copies")]
                text = "".join(json.dumps(row) + "\n" for row in mine)
                Path(corpus.train, source, f"{number:05d}.jsonl").write_text(text)
            planted = (json.dumps({"id": row["id"], **what}) for row, what in part if what["kind"] != "plain")
            truth.write("".join(line + "\n" for line in planted))
    return corpus


def _questions(random: Random) -> Iterator[Row]:
    for number in range(QUESTIONS):
        text, answer = solution(random)
        asked = problem(random)
        if number % 5 == 0:
            asked = f"{asked} The value is $\\frac{{m}}{{n}}$ {ENDING}"
        yield {"id": f"q{number}", "problem": asked, "solution": text, "answer": answer, "level": "Level 5"}


def _rows(count: int, questions: Sequence[str], random: Random) -> Iterator[tuple[Row, Row]]:
    """Yield each row and what it is."""
    edits = list(EDITS)
    earlier: list[Row] = []
    for number in range(count):
        text, answer = solution(random)
        row: Row = {"id": str(number), "problem": "", "solution": text, "answer": answer}
        row["level"] = f"Level {random.randint(1, 5)}"
        draw = random.random()
        edit = edits[number % len(edits)]
        planted: Row = {"kind": "plain"}
        if draw < DUPLICATE and earlier:
            of = random.choice(earlier)
            row["problem"] = EDITS[edit](str(of["problem"]), random, vocabulary())
            row["solution"], row["answer"] = solution(random, str(of["answer"]))
            planted = {"kind": "duplicate", "edit": edit, "of": of["id"]}
        elif draw < DUPLICATE + LEAKED:
            of_question = random.randrange(len(questions))
            row["problem"] = EDITS[edit](questions[of_question], random, vocabulary())
            planted = {"kind": "leaked", "edit": edit, "of": f"q{of_question}"}
        elif draw < DUPLICATE + LEAKED + HARD:
            edit = "sibling" if number % 2 else "boilerplate"
            of_question = random.randrange(len(questions))
            row["problem"] = _hard(edit, questions[of_question], random)
            planted = {"kind": "hard", "edit": edit, "of": f"q{of_question}"}
        else:
            row["problem"] = problem(random)
            _remember(earlier, row, random)
        yield row, planted


def _hard(kind: str, question: str, random: Random) -> str:
    if kind == "boilerplate":
        return f"{problem(random)} The value is $\\frac{{m}}{{n}}$ {ENDING}"
    words = question.split(" ")
    shared = " ".join(words[: len(words) // 2])
    return f"{shared} {' '.join(random.choices(vocabulary(), k=len(words) // 2))}. How many are there?"


def _remember(earlier: list[Row], row: Row, random: Random) -> None:
    kept = {name: row[name] for name in ("id", "problem", "answer")}
    if len(earlier) < REMEMBERED:
        earlier.append(kept)
    else:
        earlier[random.randrange(REMEMBERED)] = kept
