"""How much of a benchmark question stands in a row, in its prompt or in its response: the contamination rule.

Containment = shared 10-grams / the smaller of the two sets. On 78 true overlaps of LeetCode and LiveCodeBench
"contaminated from 0.25 on" had precision 0.93 and recall 0.91. What it gets wrong is known, and mended here,
so that it can begin at 0.15:

- *Names and numbers.* N-grams are of shapes (`corpus.words`): renaming a variable or changing a number does
  not hide a copy. Where each side has numbers that the other lacks, only a copy in all its words is
  contaminated.
- *Boilerplate.* A phrase that three different questions of a benchmark use, or one in twenty prompts of the
  part of the corpus that is looked at, belongs to a template. N-grams made of such phrases do not count, on
  either side.
- *Siblings.* "Word Ladder II" shares whole sentences with "Word Ladder" and asks for something else. Where a
  share x of its words was replaced, a copy keeps (1 - x)^n of its n-grams: containment tells how many of
  either text's telling words may be missing from the other. A sibling lacks more, and is suspect.
- *Code to begin with.* A class and a signature are words of a site, not of a problem: what stands in fences
  of a question does not count as words that must be met again, unless there is little else.
- *Short texts.* Where no more than n n-grams tell, no telling word may be missing. A question of none is
  contaminated if a prompt is the same line of words and signs once instructions are taken off, and suspect if
  it stands whole inside another prompt.

Responses are held against questions (is one quoted whole?) and against reference answers. Every match is a
row of `OVERLAPS` with the words that both have, so that anybody can read why.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher

import numpy as np
import polars as pl

from infra_core.corpus.schema import OVERLAPS, distinct
from infra_core.corpus.telling import FEWEST_OWN, Telling, prose_table, tellings
from infra_core.corpus.words import (
    END,
    common_phrases,
    covered,
    lines,
    ngrams,
    problem_table,
    telling_ngrams,
    word_table,
)
from infra_core.recipe import ScreenParams

SHARED_BY_QUESTIONS = 3
SHARED_BY_PROMPTS, FEWEST_PROMPTS = 0.05, 5  # of the distinct texts of a part, and at least so many
RENUMBERED = 0.8  # containment from which a text with other numbers is a copy with other numbers
NUMBERS_AGREE = 0.5  # of all numbers of both: the rest is layout
QUOTED = 0.5  # of a question that a response must hold
OWN_RENUMBERED = 4  # words of its own by which a question is known that has other numbers
SHORTEST_INSIDE = 5  # words and signs of a short question that is looked for inside prompts
EVIDENCE_WORDS = 40
LINES = {"equal": "line", "renumbered": "shape"}
LOOKED_AT = 200  # different texts of a part, to know its template by
MARKS = 1 << 24  # of n-grams, by their last bits: a quick no for nearly all

JUDGED = {
    "field": pl.String(),
    "rule": pl.String(),
    "verdict": pl.String(),
    "containment": pl.Float32(),
    "shared": pl.String(),
}


class QuestionIndex:
    """Benchmark questions and reference answers by the n-grams that tell them apart.

    Parameters
    ----------
    benchmarks
        `CORPUS` rows of all benchmarks.
    params
        Length of an n-gram, and from which containment on a row is suspect or contaminated.
    """

    def __init__(self, benchmarks: pl.DataFrame, params: ScreenParams) -> None:
        self.params = params
        questions = distinct(benchmarks)
        fields = [
            questions.select(
                "prompt",
                text=field,
                question_id="example_id",
                benchmark="source",
                question_field=pl.lit(field),
            ).filter(pl.col("text") != "")
            for field in ("prompt", "response")
        ]
        self.items = pl.concat(fields).with_row_index("item")
        self.phrases = _boilerplate(self.items)
        marked = covered(word_table(self.items["text"]), self.phrases)
        grams = telling_ngrams(marked, params.ngram).rename({"row": "item"})
        self.items = self.items.join(
            grams.group_by("item").agg(n_item=pl.len()), on="item", how="left", maintain_order="left"
        ).with_columns(pl.col("n_item").fill_null(0))
        self.grams = grams.join(self.items.select("item", "question_field", "n_item"), on="item")
        self.held = np.unique(grams["gram"].to_numpy())
        self.marks = np.zeros(MARKS, dtype=bool)
        self.marks[self.held & np.uint64(MARKS - 1)] = True
        prose = covered(prose_table(self.items["text"]), self.phrases)
        self.telling = dict(tellings(marked, prose))
        asked = self.items.filter(question_field="prompt")
        asking = lines(problem_table(asked["text"]), asked.height)
        self.asked = pl.concat([asked, asking], how="horizontal").filter(pl.col("line") != "")
        self.known = {
            rule: self.asked.unique(column, keep="first", maintain_order=True).select(column, "item")
            for rule, column in LINES.items()
        }
        short = self.asked.filter(
            pl.col("n_item") <= params.ngram, pl.col("line").str.count_matches(r"\S+") >= SHORTEST_INSIDE
        )
        self.short = {f" {line} ": item for line, item in short.select("stopped", "item").iter_rows()}

    def holding(self, words: pl.DataFrame) -> pl.Series:
        """Return the rows of a `word_table` that share any n-gram with a question or a reference answer."""
        grams = words.select("row", gram=ngrams(words, self.params.ngram)).drop_nulls()
        # Nearly all are told apart by one look at their last bits.
        likely = grams.filter(pl.Series(self.marks[grams["gram"].to_numpy() & np.uint64(MARKS - 1)]))
        values = likely["gram"].to_numpy()
        places = np.minimum(np.searchsorted(self.held, values), max(len(self.held) - 1, 0))
        return likely["row"].filter(pl.Series(self.held[places] == values)).unique()

    def overlaps(self, rows: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
        """Return every overlap of `CORPUS` rows that is large enough to be listed, in schema `OVERLAPS`.

        Parameters
        ----------
        rows
            Of one part of one source: what its prompts have in common is taken for their template.
        asked
            The `problem_table` of their prompts.
        """
        prompts = _Side(rows["prompt"], self)
        found = [*self._by_line(lines(asked, rows.height)), *prompts.judged("prompt", "prompt")]
        responses = _Side(rows["response"], self)
        found += responses.judged("response", "prompt")
        found += responses.judged("response", "response")
        table = pl.DataFrame(found, schema={"row": pl.UInt32(), "item": pl.UInt32(), **JUDGED}, orient="row")
        named = rows.select("example_id").with_row_index("row")
        return (
            table
            .unique(["row", "item", "field"], keep="first", maintain_order=True)
            .join(named, on="row", maintain_order="left")
            .join(self.items, on="item", maintain_order="left")
            .sort("row", "item", "field")
            .select(OVERLAPS.keys())
        )

    def _by_line(self, asked: pl.DataFrame) -> Iterator[tuple]:
        """Yield prompts that are a question but for instructions or numbers, or that hold a short one."""
        asking = asked.with_row_index("row")
        for rule, column in LINES.items():
            same = asking.join(self.known[rule], on=column).select("row", "item", column)
            for row, item, line in same.iter_rows():
                if rule == "equal" or self._tells(item, OWN_RENUMBERED):
                    yield row, item, "prompt", rule, "contaminated", 1.0, line
        if not self.short:  # polars searches for no pattern as little as it can
            return
        held = asking.select(
            "row", held=pl.format(" {} ", "stopped").str.extract_many(list(self.short), overlapping=True)
        )
        for row, found in held.filter(pl.col("held").list.len() > 0).iter_rows():
            longest = max(found, key=len)
            verdict = "contaminated" if self._tells(self.short[longest], FEWEST_OWN) else "suspect"
            yield row, self.short[longest], "prompt", "inside", verdict, 1.0, longest.strip(f" {END}")

    def _tells(self, item: int, least: int) -> bool:
        """Whether a question has words enough of its own to be known by them."""
        return item in self.telling and len(self.telling[item].own) >= least


class _Side:
    """The prompts or the responses of a part, as the index needs them: those that may match at all."""

    def __init__(self, texts: pl.Series, index: QuestionIndex) -> None:
        self.index, self.texts = index, texts
        words = word_table(texts)
        rows = index.holding(words).to_frame()
        self.table = words.join(rows, on="row", how="semi", maintain_order="left").with_columns(common=False)
        self.phrases = pl.concat([index.phrases, _template(words, texts)]) if rows.height else index.phrases
        self.table = covered(self.table, self.phrases)
        self.grams = telling_ngrams(self.table, index.params.ngram)

    def judged(self, field: str, question_field: str) -> Iterator[tuple]:
        """Yield what is listed of these texts against questions or reference answers."""
        pairs = self._pairs(question_field, of_item=field != question_field)
        telling = self._telling(pairs["row"].unique(), field)
        for row, item, containment, smaller in pairs.iter_rows():
            text, asked = telling[row], self.index.telling[item]
            if field != question_field:
                rule, verdict = _quoted(text, asked, containment)
            else:
                rule, verdict = _same(text, asked, containment, self.index.params)
            if rule == "renumbered" and field == "response":  # the way to another answer
                verdict = ""
            few = smaller <= self.index.params.ngram
            if few and verdict == "contaminated" and min(text.lacks(asked), asked.lacks(text)) > 0:
                verdict = "suspect"
            if verdict:
                yield row, item, field, rule, verdict, containment, _evidence(text.words, asked.words)

    def _telling(self, rows: pl.Series, field: str) -> dict[int, Telling]:
        table = self.table.join(rows.to_frame(), on="row", how="semi")
        if field == "response":  # its code is its own
            return dict(tellings(table))
        placed = rows.to_frame().with_row_index("place")
        prose = prose_table(self.texts.gather(rows)).rename({"row": "place"})
        named = prose.join(placed, on="place", maintain_order="left").drop("place")
        return dict(tellings(table, covered(named, self.phrases)))

    def _pairs(self, question_field: str, *, of_item: bool) -> pl.DataFrame:
        """Return (row, item, containment, n-grams of the smaller side) that are worth judging."""
        params = self.index.params
        sizes = self.grams.group_by("row").agg(n_row=pl.len())
        smaller = pl.col("n_item") if of_item else pl.min_horizontal("n_row", "n_item")
        return (
            self.grams
            .join(self.index.grams.filter(question_field=question_field), on="gram")
            .group_by("row", "item")
            .agg(shared=pl.len(), n_item=pl.col("n_item").first())
            .join(sizes, on="row")
            .with_columns(smaller=smaller)
            .with_columns(containment=pl.col("shared") / pl.col("smaller"))
            .filter(pl.col("containment") >= min(params.suspect_containment, params.drop_containment))
            .sort("row", "item")
            .select("row", "item", "containment", "smaller")
        )


def _same(text: Telling, asked: Telling, containment: float, params: ScreenParams) -> tuple[str, str]:
    """Return rule and verdict for a prompt and a question, or a response and a reference answer."""
    lacking = min(text.lacks(asked), asked.lacks(text))
    same = text.is_in(asked, containment, params.ngram) or asked.is_in(text, containment, params.ngram)
    enough = containment >= params.drop_containment
    if _other_numbers(text, asked):
        copied = enough and containment >= RENUMBERED and lacking == 0
        return "renumbered", "contaminated" if copied else "suspect"
    return "n-grams", "contaminated" if enough and same else "suspect"


def _quoted(text: Telling, asked: Telling, containment: float) -> tuple[str, str]:
    """Return rule and verdict for a response that may hold a question."""
    whole = containment >= QUOTED and asked.is_in(text) and asked.numbers <= text.numbers
    return "quoted", "contaminated" if whole else ""


def _other_numbers(text: Telling, asked: Telling) -> bool:
    """Whether each has numbers that the other lacks, and they are not few among those that agree."""
    if text.numbers <= asked.numbers or asked.numbers <= text.numbers:
        return False
    return len(text.numbers & asked.numbers) < NUMBERS_AGREE * len(text.numbers | asked.numbers)


def _boilerplate(items: pl.DataFrame) -> pl.Series:
    """Return the phrases that several different texts of one field of one benchmark use."""
    found = [
        # Different: a question asked twice does not make its own text boilerplate.
        common_phrases(word_table(texts["text"].unique(maintain_order=True)), SHARED_BY_QUESTIONS)
        for _, texts in items.group_by("benchmark", "question_field", maintain_order=True)
    ]
    return pl.concat([pl.Series("phrase", [], dtype=pl.UInt64), *found]).unique()


def _template(words: pl.DataFrame, texts: pl.Series) -> pl.Series:
    """Return the phrases that many different texts of a part use, judged by the first few hundred of them."""
    # A text that stands there several times is no template.
    different = (
        texts.alias("text").to_frame().with_row_index("row").unique("text", keep="first", maintain_order=True)
    )
    seen = different.head(LOOKED_AT).select("row")
    least = max(FEWEST_PROMPTS, int(SHARED_BY_PROMPTS * seen.height))
    return common_phrases(words.join(seen, on="row", how="semi"), least)


def _evidence(text: list[str], asked: list[str]) -> str:
    """Return the longest run of words that both have."""
    match = SequenceMatcher(None, text, asked, autojunk=False).find_longest_match()
    return " ".join(text[match.a : match.a + min(match.size, EVIDENCE_WORDS)])
