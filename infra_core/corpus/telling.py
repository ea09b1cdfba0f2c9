"""What a text says beyond its template: by which words a problem is known, and whether another has them."""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from infra_core.corpus.words import ASKING, word_table

MISSING_WORDS = 0.1  # of a text's own words that any copy may lack: one of five to fourteen
OWN_SHARED = 1.1  # over containment: so many words of its own must a text have, the more the less is shared
REWORDED = 1.25  # times as many as its containment tells of: words weigh unequally
FENCED = r"(?s)```.*?(?:```|\z)"
FEWEST_OWN = 3  # words by which a text is known at all


class Telling(NamedTuple):
    """What a text says beyond its template."""

    words: list[str]  # all, in order
    own: frozenset[str]  # words of more than a letter that neither template nor instructions are made of
    numbers: frozenset[str]

    def lacks(self, other: "Telling") -> int:
        """Return how many of this text's own words stand nowhere in the other."""
        return len(self.own.difference(other.words))

    def is_in(self, other: "Telling", containment: float = 1, n: int = 1) -> bool:
        """Whether this text's own words, enough to go by, stand in the other: as its n-grams let expect.

        A copy that has a share x of its words replaced keeps (1 - x)^n of its n-grams.
        """
        replaced = 1 - min(containment, 1.0) ** (1 / n)
        missing = max(MISSING_WORDS, REWORDED * replaced) * len(self.own)
        enough = len(self.own) >= max(FEWEST_OWN, OWN_SHARED / containment)
        return enough and self.lacks(other) <= int(missing + 0.5)


def prose_table(texts: pl.Series) -> pl.DataFrame:
    """Return the `word_table` of texts without fences: in a question, code that an answer begins with."""
    return word_table(texts.str.replace_all(FENCED, " "))


def tellings(table: pl.DataFrame, prose: pl.DataFrame | None = None) -> Iterator[tuple[int, Telling]]:
    """Yield what each text says; it is known by its `prose`, unless that has too few words of its own."""
    known = {} if prose is None else dict(tellings(prose))
    grouped = table.group_by("row", maintain_order=True).agg("word", "common")
    for row, words, common in grouped.iter_rows():
        own = {word for word, shared in zip(words, common, strict=True) if not shared and len(word) > 1}
        numbers = frozenset(word for word in words if word.isdigit())
        told = Telling(words, frozenset(own) - numbers - ASKING, numbers)
        here = known.get(row, told)
        yield row, here._replace(words=words) if len(here.own) >= FEWEST_OWN else told
