"""Global looks at the text: duplicates within and across pools, and overlap with benchmark questions.

*Duplicates* are exact after normalisation: NFC and every run of white space as one space. Case, digits and
signs stay, since "3 + 4" and "3 - 4" are two problems. A row is a duplicate of an earlier row of its pool if
prompt **and** response agree (several responses to one problem are wanted); a reserve row also of a corpus
row with the same prompt, since swapping it in would teach what is there.

*Contamination* follows a rule measured on 78 true overlaps of LeetCode and LiveCodeBench (precision 0.93,
recall 0.91): containment = shared 10-grams over tokens ``[a-z0-9]+`` / the smaller of the two sets; from 0.25
on a row is dropped, from 0.10 on it is suspect and stays. That rule was measured on long statements. Two
additions keep it true for short and for templated ones:

- an n-gram that stands in three or more different questions of a benchmark is boilerplate and does not count;
- if the shorter of the two prompts has fewer than 2 n tokens, a few shared n-grams are most of it without its
  being the same problem ("Start with 14. Add 7. Double." …): then only equality of the whole token sequence,
  signs included, drops a row, and containment makes it suspect at most.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from infra_core.corpus.schema import SCREEN, distinct
from infra_core.recipe import ScreenParams

Gram = tuple[str, ...]
WORD = re.compile(r"[a-z0-9]+")
WORD_OR_SIGN = re.compile(r"[a-z0-9]+|[^\sa-z0-9.,;:!?'\"“”‘’]")
BOILERPLATE_QUESTIONS = 3


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of a prompt stands in a benchmark question."""

    verdict: str
    question: str
    benchmark: str
    containment: float


def screen(
    corpus: pl.DataFrame, reserve: pl.DataFrame, benchmarks: pl.DataFrame, params: ScreenParams
) -> pl.DataFrame:
    """List the rows that a global look finds wanting, once: contaminated before duplicate before suspect.

    Parameters
    ----------
    corpus, reserve, benchmarks
        `CORPUS` rows; `benchmarks` of all benchmarks together.
    params
        What to look for.

    Returns
    -------
    DataFrame
        `SCREEN` rows, in the order of the pools. Rows of one pool with equal `example_id` are one row here:
        whoever reads a whole pool keeps the first of them with `schema.distinct`.
    """
    pools = {"corpus": distinct(_in_source_order(corpus)), "reserve": distinct(_in_source_order(reserve))}
    duplicates = _duplicates(pools) if params.deduplicate else {}
    index = QuestionIndex(benchmarks, params) if params.decontaminate else None
    found = []
    for pool, frame in pools.items():
        for example_id, prompt in frame.select("example_id", "prompt").iter_rows():
            overlap = index.overlap(prompt) if index else None
            original = duplicates.get((pool, example_id))
            if overlap and (overlap.verdict == "contaminated" or not original):
                row = (overlap.verdict, overlap.question, overlap.benchmark, overlap.containment)
            elif original:
                row = ("duplicate", *original, 1.0)
            else:
                continue
            found.append((example_id, pool, *row))
    return pl.DataFrame(found, schema=SCREEN, orient="row")


def refused(screen: pl.DataFrame, pool: str) -> pl.DataFrame:
    """Return the rows of a `SCREEN` that keep a row of `pool` out; `suspect` rows stay in.

    A row that repeats itself is the second of two equal ones: the first is kept, under the same id.
    """
    keeps_out = pl.col("verdict").is_in(["duplicate", "contaminated"])
    itself = pl.col("matched").eq_missing(pl.col("example_id"))
    return screen.filter(pl.col("pool") == pool, keeps_out, ~itself)


def normalised(text: str) -> str:
    r"""Return text as duplicates are compared: NFC, every run of white space one space.

    Examples
    --------
    >>> normalised("3\xa0+ 4\n ") == normalised("3 + 4"), normalised("3 + 4") == normalised("3 - 4")
    (True, False)
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


class QuestionIndex:
    """Benchmark questions by their n-grams."""

    def __init__(self, benchmarks: pl.DataFrame, params: ScreenParams) -> None:
        self.params = params
        questions = distinct(benchmarks).select("example_id", "source", "prompt").rows()
        self.names = [(example_id, benchmark) for example_id, benchmark, _ in questions]
        tokens = [WORD.findall(prompt.lower()) for _, _, prompt in questions]
        self.lengths = [len(words) for words in tokens]
        self.boilerplate = self._repeated(zip(self.names, tokens, strict=True))
        self.grams = [set(_ngrams(words, params.ngram)) - self.boilerplate for words in tokens]
        self.exact: dict[Gram, int] = {}
        self.holders: dict[Gram, list[int]] = defaultdict(list)
        for number, (_, _, prompt) in enumerate(questions):
            if whole := tuple(WORD_OR_SIGN.findall(prompt.lower())):
                self.exact.setdefault(whole, number)
            for gram in self.grams[number]:
                self.holders[gram].append(number)
        self.held = set(self.holders)

    def _repeated(self, questions: Iterable[tuple[tuple[str, str], list[str]]]) -> set[Gram]:
        """Return the n-grams of several different questions of one benchmark."""
        # Different: a question asked twice does not make its own text boilerplate.
        different = {(benchmark, tuple(words)) for (_, benchmark), words in questions}
        counts = Counter(
            (benchmark, gram)
            for benchmark, words in different
            for gram in set(_ngrams(words, self.params.ngram))
        )
        return {gram for (_, gram), count in counts.items() if count >= BOILERPLATE_QUESTIONS}

    def overlap(self, prompt: str) -> Overlap | None:
        """Return the question that a prompt overlaps most, if it overlaps any enough to be listed."""
        lowered = prompt.lower()
        same = self.exact.get(tuple(WORD_OR_SIGN.findall(lowered)))
        if same is not None:
            return Overlap("contaminated", *self.names[same], 1.0)
        words = WORD.findall(lowered)
        grams = set(_ngrams(words, self.params.ngram)) - self.boilerplate
        shared = Counter(number for gram in grams & self.held for number in self.holders[gram])
        found = [
            self._judged(number, count / min(len(grams), len(self.grams[number])), len(words))
            for number, count in sorted(shared.items())
        ]
        listed = [overlap for overlap in found if overlap is not None]
        return max(listed, key=lambda o: (o.verdict == "contaminated", o.containment), default=None)

    def _judged(self, number: int, containment: float, length: int) -> Overlap | None:
        short = min(length, self.lengths[number]) < 2 * self.params.ngram
        if containment >= self.params.drop_containment and not short:
            return Overlap("contaminated", *self.names[number], containment)
        if containment >= self.params.suspect_containment:
            return Overlap("suspect", *self.names[number], containment)
        return None


def _ngrams(words: Sequence[str], n: int) -> Iterator[Gram]:
    return zip(*(words[start:] for start in range(n)), strict=False)


def _duplicates(pools: Mapping[str, pl.DataFrame]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (pool, example_id) of each repeated row → (example_id, source) of the row it repeats."""
    corpus_prompts: dict[str, tuple[str, str]] = {}
    found = {}
    for pool, frame in pools.items():
        seen: dict[tuple[str, str], tuple[str, str]] = {}
        for row in frame.select("example_id", "source", "prompt", "response").iter_rows(named=True):
            prompt, whole = (
                normalised(row["prompt"]),
                (normalised(row["prompt"]), normalised(row["response"])),
            )
            original = seen.get(whole) if pool == "corpus" else corpus_prompts.get(prompt) or seen.get(whole)
            if original:
                found[pool, row["example_id"]] = original
                continue
            seen[whole] = (row["example_id"], row["source"])
            if pool == "corpus":
                corpus_prompts.setdefault(prompt, seen[whole])
    return found


def _in_source_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort by source (in order of appearance), file and line: the order of parts must not decide."""
    sources = {source: rank for rank, source in enumerate(frame["source"].unique(maintain_order=True))}
    file_and_line = pl.col("raw_ref").str.extract_groups(r"^(.*)#(\d+)$")
    return frame.sort(
        pl.col("source").replace_strict(sources, return_dtype=pl.Int32),
        file_and_line.struct[0],
        file_and_line.struct[1].cast(pl.Int64),
        maintain_order=True,
    )
