"""How well the screen tells copies of real rows: `python -m benchmarks.leaks FOLDER`.

The folder holds `corpora/` and `benchmarks/`, with the files named below. The tables are those of
`docs/screening.md`.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.planted import EDITS
from infra_core.corpus.clean import ingest_rows
from infra_core.corpus.near import signatures
from infra_core.corpus.overlap import QuestionIndex
from infra_core.corpus.screen import screen
from infra_core.corpus.words import problem_table
from infra_core.recipe import CleanParams, ColumnMapping, ScreenParams, Source
from infra_core.sources.catalog import catalog
from infra_core.sources.rows import chunk_shards, read_chunks

CORPORA = {
    "gsm8k_train.jsonl": "gsm8k",
    "math_levels.jsonl": "math",
    "math_8_samples.jsonl": "math_8_samples",
    "leetcode.jsonl.gz": "leetcode",
}
BENCHMARKS = {
    "gsm8k_test.jsonl": "gsm8k",
    "mbpp_sanitized.jsonl": "mbpp",
    "aime24.jsonl": "aime24",
    "math500.jsonl": "math500",
}
DOMAIN = {"leetcode": "code", "mbpp": "code"}
WORDS = (
    "apple", "river", "stone", "window", "garden", "yellow", "seven", "market", "orange", "bridge", "castle",
    "paper", "rabbit", "silver",
)  # fmt: skip
FILLERS = ("the", "this", "given", "value", "such", "integer", "element")
PART = 500  # rows, as a corpus is divided
COPIES = 300
REPLACED = (0.0, 0.03, 0.06)
ALONE = 0.25  # containment that would decide alone
SIBLING = re.compile(r"-(?:i|ii|iii|iv|v)$")
Pairs = set[tuple[str, str]]


@cache
def ingested(data: Path, folder: str, file: str, preset: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of a file that are kept, and those that are dropped."""
    name = file.partition(".")[0]
    source = Source(
        name=name,
        domain=DOMAIN.get(preset, "math"),
        uri=str(data / folder / file),
        mapping=ColumnMapping(preset=preset),
    )
    (shard,) = catalog(source.uri)
    parts = [
        ingest_rows(
            rows, source, CleanParams(), need_response=folder == "corpora", check_columns=chunk.start == 0
        )
        for chunk, rows in read_chunks(shard, chunk_shards(shard, name))
    ]
    kept, dropped = (pl.concat(frames) for frames in zip(*parts, strict=True))
    return kept, dropped


def pools(data: Path, folder: str, files: Mapping[str, str]) -> pl.DataFrame:
    """Return the kept rows of several files."""
    return pl.concat(ingested(data, folder, file, preset)[0] for file, preset in files.items())


def overlaps(index: QuestionIndex, rows: pl.DataFrame) -> pl.DataFrame:
    """Return all that is listed of rows, part by part."""
    return pl.concat(index.overlaps(part, problem_table(part["prompt"])) for part in rows.iter_slices(PART))


def edited(rows: pl.DataFrame, edit: str) -> pl.DataFrame:
    """Return rows whose prompts were changed by a named edit."""
    random = Random(0)  # noqa: S311
    return rows.with_columns(
        prompt=pl.Series([EDITS[edit](text, random, WORDS) for text in rows["prompt"]], dtype=pl.String())
    )


def told_elsewhere(row: Mapping[str, Any], random: Random, words: float) -> str:
    """Return a problem of LeetCode as another site has it: with examples, without code, some words other."""
    told, _, _ = row["prompt"].partition("Please complete the following python code")
    pieces = re.sub(r"\b10([5-9]|1\d)\b", r"10^\1", told).split(" ")
    for place in random.sample(range(len(pieces)), int(words * len(pieces))):
        pieces[place] = random.choice(FILLERS)
    tests = row["tests"].replace("\\n", "\n").replace('\\"', '"')
    examples = re.findall(r"assert candidate\((.*)\) == (.*)", tests)[:2]
    sentences = row["response"].partition("```")[0].split(". ")
    return "\n\n".join((
        " ".join(pieces),
        *(f"Input: {a}\nOutput: {b}\nExplanation: {random.choice(sentences)}" for a, b in examples),
        "Constraints:\n\n1 <= n <= 10^5\n1 <= nums[i] <= 10^9",
    ))


def elsewhere(rows: pl.DataFrame) -> Iterator[tuple[float, tuple[float, float], tuple[float, float]]]:
    """Yield shares of words replaced, and recall and precision of the rule and of containment alone."""
    random = Random(0)  # noqa: S311
    asked = rows.filter(pl.Series([number % 3 == 0 for number in range(len(rows))]))
    for words in REPLACED:
        told = [told_elsewhere(row, random, words) for row in asked.iter_rows(named=True)]
        questions = asked.with_columns(
            prompt=pl.Series(told), response=pl.lit(""), source=pl.lit("elsewhere")
        )
        found = overlaps(QuestionIndex(questions, ScreenParams()), rows)
        contained = found.filter(pl.col("containment") >= ALONE, field="prompt", question_field="prompt")
        yield (
            words,
            *(
                recall_and_precision(each, len(asked))
                for each in (found.filter(verdict="contaminated"), contained)
            ),
        )


def recall_and_precision(found: pl.DataFrame, questions: int) -> tuple[float, float]:
    """Return both, of rows that are asked under their own example_id."""
    pairs = _pairs(found)
    right = sum(row == question for row, question in pairs)
    return right / questions, right / len(pairs)


def siblings(data: Path) -> tuple[int, int, int]:
    """Return how many pairs of LeetCode siblings there are, and how many either rule takes for one."""
    kept, _ = ingested(data, "corpora", "leetcode.jsonl.gz", "leetcode")
    raw = pl.read_ndjson(data / "corpora" / "leetcode.jsonl.gz")["task_id"]
    families: dict[str, list[str]] = {}
    for name, reference in kept.select("example_id", "raw_ref").iter_rows():
        task = SIBLING.sub("", raw[int(reference.rpartition("#")[2]) - 1])
        families.setdefault(task, []).append(name)
    related = {(one, other) for family in families.values() for one in family for other in family}
    members = {name for family in families.values() if len(family) > 1 for name in family}
    questions = kept.filter(pl.col("example_id").is_in(members)).with_columns(
        source=pl.lit("exam"), response=pl.lit("")
    )
    found = overlaps(QuestionIndex(questions, ScreenParams()), kept)
    contained = found.filter(pl.col("containment") >= ALONE, field="prompt")
    return (
        _unordered(related),
        *(_unordered(_pairs(each) & related) for each in (found.filter(verdict="contaminated"), contained)),
    )


def leaked(data: Path) -> Iterator[tuple[str, str, float, float]]:
    """Yield edit, benchmark, and the shares of its questions whose copies are contaminated, and listed."""
    index = QuestionIndex(pools(data, "benchmarks", BENCHMARKS), ScreenParams())
    for edit in EDITS:
        for file, preset in BENCHMARKS.items():
            questions, _ = ingested(data, "benchmarks", file, preset)
            found = overlaps(index, edited(questions, edit).with_columns(response=pl.lit("x")))
            own = found.filter(pl.col("question_id") == pl.col("example_id"))
            caught = own.filter(verdict="contaminated")["example_id"].n_unique()
            yield edit, preset, caught / len(questions), own["example_id"].n_unique() / len(questions)


def duplicated(data: Path) -> Iterator[tuple[str, str, float]]:
    """Yield edit, corpus, and which share of its copies is taken for a duplicate of what it copies."""
    rows = pools(data, "corpora", CORPORA).unique("prompt", keep="first", maintain_order=True)
    for edit in EDITS:
        for source, of_source in rows.group_by("source", maintain_order=True):
            originals = of_source.head(COPIES)
            copies = edited(originals, edit).with_columns(
                source=pl.lit("copies"), example_id=pl.format("copy of {}", "example_id")
            )
            every = pl.concat([rows, copies])
            texts = every.select("example_id", "prompt")
            listed = screen(
                {"corpus": signatures(every, problem_table(every["prompt"]))},
                {},
                lambda ids, texts=texts: texts.filter(pl.col("example_id").is_in(ids)),
                ScreenParams(),
            )
            found = {frozenset(pair) for pair in listed.select("example_id", "matched").iter_rows()}
            caught = sum({name, f"copy of {name}"} in found for name in originals["example_id"])
            yield edit, str(source[0]), caught / len(originals)


def _pairs(found: pl.DataFrame) -> Pairs:
    return set(found.select("example_id", "question_id").iter_rows())


def _unordered(pairs: Pairs) -> int:
    return len({frozenset(pair) for pair in pairs if pair[0] != pair[1]})


def _show(console: Console, title: str, head: Iterable[str], lines: Iterable[Iterable[object]]) -> None:
    drawn = Table(*head, title=title)
    for line in lines:
        drawn.add_row(*(f"{each:.2f}" if isinstance(each, float) else str(each) for each in line))
    console.print(drawn)


def main(folder: str) -> None:
    """Print every table."""
    data, console = Path(folder), Console(highlight=False)
    rows, _ = ingested(data, "corpora", "leetcode.jsonl.gz", "leetcode")
    told = ((words, *ours, *alone) for words, ours, alone in elsewhere(rows))
    columns = ("words replaced", "recall", "precision", "recall of containment alone", "precision")
    _show(console, "told elsewhere", columns, told)
    _show(console, "siblings", ("pairs", "taken for one problem", "by containment alone"), [siblings(data)])
    _show(console, "leaked questions", ("edit", "benchmark", "contaminated", "listed"), leaked(data))
    _show(console, "duplicates", ("edit", "corpus", "found"), duplicated(data))


if __name__ == "__main__":
    main(sys.argv[1])
