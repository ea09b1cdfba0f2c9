"""Which prompts ask for the same problem in nearly the same words: MinHash finds the pairs, the words decide.

A prompt is taken without its instructions, its variables' names and its numbers (`corpus.words`); of what is
left every five words in a row are a shingle. MinHash signatures (rensa, compiled) in sixteen bands propose
pairs of prompts that agree in a band, and in their numbers and signs besides (or in their answer): without
that every problem of a template would be compared with every other. Each pair is then judged on its words:

- the shingles of both overlap by at least `similarity` (Jaccard);
- one has all words of the other and, in fifty, one more at most: "largest" for "smallest" is another problem;
- in fewer than eight words they are the same word by word, capitals included;
- numbers and signs are the same in the same order; or, in a longer text that is the same but for them, the
  final answers are: then what changed is a label or a line number.

Signatures are a row of `SIGNATURES` each, made part by part; only columns of them are ever held for all rows.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import polars as pl
from rensa import RMinHash
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from infra_core.corpus.schema import SIGNATURES
from infra_core.corpus.words import ASKING, N_SPREAD, lines, problem_table, runs, with_shapes

SHINGLE = 5
PERMUTATIONS, BANDS = (
    64,
    16,
)  # four values a band: pairs of Jaccard 0.7 are proposed in 99 of 100 cases, 0.8 in all
SEED = 1
LACKING_WORDS = 0.02
FEWEST_WORDS = 8
RELABELLED, RELABELLED_WORDS = (
    0.9,
    20,
)  # similarity and length from which equal answers outweigh other numbers
PAIRS_AT_ONCE = 20_000  # whose prompts are held together
QUANTITY = r"[-*] \d+|\d+|[+=<>^/]"

Texts = Callable[[list[str]], pl.DataFrame]
"""Gives `example_id` and `prompt` of rows by their example_id."""


def normalised(text: str) -> str:
    r"""Return text as equal rows are compared: NFC, every run of white space one space.

    Examples
    --------
    >>> normalised("3\xa0+ 4\n ") == normalised("3 + 4"), normalised("3 + 4") == normalised("3 - 4")
    (True, False)
    """
    return " ".join((text if text.isascii() else normalize("NFC", text)).split())


def key(*texts: str) -> int:
    """Return 63 bits that stand for texts: the same on every machine, and different for different texts."""
    digest = blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def signatures(rows: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return what is compared of `CORPUS` rows, in schema `SIGNATURES`; each row by itself.

    `asked` is the `problem_table` of their prompts.
    """
    counted = lines(asked, rows.height).select(quantities(pl.col("line"))).to_series()
    known = rows.select(pl.coalesce("answer", "tests")).to_series()
    texts = zip(rows["prompt"], rows["response"], counted, known, strict=True)
    keys = [
        (key(same := normalised(prompt)), key(same, normalised(response)), key(numbers), _fact(given))
        for prompt, response, numbers, given in texts
    ]
    columns = ("prompt_key", "whole_key", "quantities_key", "answer_key")
    compared = pl.DataFrame(keys, schema=dict.fromkeys(columns, pl.Int64()), orient="row")
    return rows.select(
        "example_id",
        "source",
        "raw_ref",
        "group",
        *compared,
        judged=pl.col("answer").is_not_null() | pl.col("tests").is_not_null(),
        labelled=pl.col("difficulty").is_not_null(),
        response_chars=pl.col("response").str.len_chars(),
        bands=_bands(asked, rows.height),
    ).select(SIGNATURES.keys())


def quantities(line: pl.Expr) -> pl.Expr:
    """Return the numbers and operators of a line of words and signs, in order.

    Examples
    --------
    >>> pl.select(quantities(pl.lit("what is 3 - 4 + v"))).item()
    '3 - 4 +'
    """
    return line.str.extract_all(QUANTITY).list.join(" ")


def problems(table: pl.DataFrame, texts: Texts, similarity: float | None) -> pl.DataFrame:
    """Return `problem` and `similarity` for every row: rows of one problem share its number.

    Parameters
    ----------
    table
        `SIGNATURES` rows of all pools, in the order in which earlier rows stand for later ones.
    texts
        Looks prompts up, a few thousand at a time.
    similarity
        From which prompts are one problem; with None only equal ones are.

    Returns
    -------
    DataFrame
        In the order of `table`. `similarity` is the largest to another wording of the problem, 1 where there
        is none.
    """
    first = table.select("example_id", "prompt_key", "quantities_key", "answer_key", "bands").unique(
        "prompt_key", keep="first", maintain_order=True
    )
    if similarity is None:
        found = pl.DataFrame(schema={"a": pl.UInt32(), "b": pl.UInt32(), "similarity": pl.Float32()})
    else:
        found = _verified(first, _proposed(first), texts, similarity)
    links = coo_array(
        (np.ones(found.height, dtype=bool), (found["a"].to_numpy(), found["b"].to_numpy())),
        shape=(first.height, first.height),
    )
    _, labels = connected_components(links, directed=False)
    nearest = (
        pl
        .concat([found.select(at=side, similarity="similarity") for side in ("a", "b")])
        .group_by("at")
        .agg(pl.col("similarity").max())
    )
    known = (
        first
        .select("prompt_key", problem=pl.Series(labels, dtype=pl.UInt32))
        .with_row_index("at")
        .join(nearest, on="at", how="left")
        .select("prompt_key", "problem", pl.col("similarity").fill_null(1.0))
    )
    return (
        table
        .select("prompt_key")
        .join(known, on="prompt_key", how="left", maintain_order="left")
        .drop("prompt_key")
    )


def _fact(answer: str | None) -> int | None:
    return None if answer is None else key(" ".join(answer.split()).casefold())


def _bands(asked: pl.DataFrame, rows: int) -> pl.Series:
    """Return the bands of each problem's signature; zeros where there is no word."""
    shingles = runs(_words(asked), SHINGLE)
    sketch = RMinHash.digest_matrix_from_token_sets(shingles["runs"].to_list(), PERMUTATIONS, SEED)
    matrix = np.array(sketch.to_rows(), dtype=np.uint64).reshape(len(shingles), BANDS, PERMUTATIONS // BANDS)
    mixed = np.zeros(matrix.shape[:2], dtype=np.uint64)
    for place in range(matrix.shape[2]):
        mixed = (mixed ^ matrix[:, :, place]) * np.uint64(N_SPREAD)
    found = np.zeros((rows, BANDS), dtype=np.uint32)
    found[shingles["row"].to_numpy()] = mixed >> np.uint64(32)
    return pl.Series(found).cast(SIGNATURES["bands"])


def _words(asked: pl.DataFrame) -> pl.DataFrame:
    words = asked.filter(pl.col("token").str.contains(r"^[\p{L}\p{N}]"))
    return with_shapes(words.rename({"token": "word"}))


def _proposed(first: pl.DataFrame) -> pl.DataFrame:
    """Return pairs `a` < `b` of places in `first` that agree in a band, and in quantities or answer."""
    table = first.with_row_index("at").filter(pl.col("bands").list.max() > 0)
    found = [pl.DataFrame(schema={"a": pl.UInt32(), "b": pl.UInt32()})]
    for band in range(BANDS):
        for other in ("quantities_key", "answer_key"):
            held = table.select("at", band=pl.col("bands").list.get(band), other=other).drop_nulls()
            alike = held.sort("band", "other", "at").with_columns(
                star=pl.col("at").first().over("band", "other"),
                chain=pl.when(
                    (pl.col("band").shift(1) == pl.col("band"))
                    & (pl.col("other").shift(1) == pl.col("other"))
                ).then(pl.col("at").shift(1)),
            )
            # With the first of its bucket and with the one before: linear in the bucket, and a chain of
            # pairs need not be all like the first.
            sides = (alike.select(a=side, b="at") for side in ("star", "chain"))
            found += [side.filter(pl.col("a") < pl.col("b")) for side in sides]
        found = [pl.concat(found).unique()]
    return found[0].sort("a", "b")


class _Wording(NamedTuple):
    shingles: frozenset[str]
    words: frozenset[str]
    own: frozenset[str]
    length: int
    capitals: str


def _verified(first: pl.DataFrame, pairs: pl.DataFrame, texts: Texts, least: float) -> pl.DataFrame:
    """Return the pairs that are one problem, each with its similarity."""
    agreeing = [
        pl.DataFrame(schema={"a": pl.UInt32(), "b": pl.UInt32(), "similarity": pl.Float32()}),
    ]
    facts = first.select("example_id", "quantities_key", "answer_key")
    for part in pairs.iter_slices(PAIRS_AT_ONCE):
        places = pl.concat([part["a"], part["b"]]).unique().sort()
        known = facts[places].with_columns(at=places)
        prompts = texts(known["example_id"].to_list()).unique("example_id", keep="first")
        told = known.join(prompts, on="example_id", maintain_order="left")
        wording = dict(zip(told["at"], _wordings(told["prompt"]), strict=True))
        rows = {
            at: (quantity, answer)
            for at, quantity, answer in known.select("at", "quantities_key", "answer_key").iter_rows()
        }
        kept = [
            (a, b, found)
            for a, b in part.iter_rows()
            if (found := _alike(wording[a], wording[b], rows[a], rows[b], least)) is not None
        ]
        agreeing.append(pl.DataFrame(kept, schema=agreeing[0].schema, orient="row"))
    return pl.concat(agreeing)


def _wordings(prompts: pl.Series) -> Iterator[_Wording]:
    table = _words(problem_table(prompts))
    told = table.group_by("row").agg("word").join(runs(table, SHINGLE), on="row")
    found = {
        row: (words, shingles) for row, words, shingles in told.select("row", "word", "runs").iter_rows()
    }
    for row, prompt in enumerate(prompts):
        words, shingles = found.get(row, ([], []))
        capitals = "".join(character for character in prompt if character.isupper())
        own = frozenset(word for word in words if len(word) > 1 and not word.isdigit()) - ASKING
        yield _Wording(frozenset(shingles), frozenset(words), own, len(words), capitals)


def _alike(
    one: _Wording,
    other: _Wording,
    facts: tuple[int, int | None],
    other_facts: tuple[int, int | None],
    least: float,
) -> float | None:
    """Return how similar two prompts are if they ask for the same problem, else None."""
    if min(one.length, other.length) < FEWEST_WORDS and (one.words, one.capitals) != (
        other.words,
        other.capitals,
    ):
        return None
    shared = len(one.shingles & other.shingles)
    found = shared / max(1, len(one.shingles) + len(other.shingles) - shared)
    if found < least:
        return None
    lacking = [len(text.own - against.words) for text, against in ((one, other), (other, one))]
    # A word in place of another, as "largest" of "smallest", makes another problem; one more word need not.
    if min(lacking) > 0 or max(lacking) > int(LACKING_WORDS * max(len(one.own), len(other.own)) + 0.5):
        return None
    if facts[0] == other_facts[0]:
        return found
    relabelled = (
        facts[1] is not None
        and facts[1] == other_facts[1]
        and found >= RELABELLED
        and min(one.length, other.length) >= RELABELLED_WORDS
    )
    return found if relabelled else None
