"""Global looks at the text: duplicates within and across pools, and overlap with benchmark questions.

*Duplicates* are exact after normalisation: NFC and every run of white space as one space. Case, digits and
signs stay, since "3 + 4" and "3 - 4" are two problems. A row is a duplicate of an earlier row of its pool if
prompt **and** response agree (several responses to one problem are wanted); a reserve row also of a corpus
row with the same prompt, since swapping it in would teach what is there.

*Contamination* is overlap with a benchmark question by the rule of `overlap`.
"""

import unicodedata
from collections.abc import Mapping

import polars as pl

from infra_core.corpus.overlap import Question, QuestionIndex
from infra_core.corpus.schema import SCREEN, distinct
from infra_core.recipe import ScreenParams


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
    questions = [
        Question(*row) for row in distinct(benchmarks).select("example_id", "source", "prompt").iter_rows()
    ]
    index = QuestionIndex(questions if params.decontaminate else [], params)
    found = []
    for pool, frame in pools.items():
        for example_id, prompt in frame.select("example_id", "prompt").iter_rows():
            overlap = index.overlap(prompt)
            original = duplicates.get((pool, example_id))
            if overlap and (overlap.verdict == "contaminated" or not original):
                question = overlap.question
                row = (overlap.verdict, question.example_id, question.benchmark, overlap.containment)
            elif original:
                row = ("duplicate", *original, 1.0)
            else:
                continue
            found.append((example_id, pool, *row))
    return pl.DataFrame(found, schema=SCREEN, orient="row")


def refused(screen: pl.DataFrame, pool: str) -> pl.DataFrame:
    """Return the rows of a `SCREEN` that keep a row of `pool` out; `suspect` rows stay in.

    A row may match its own id: a question that stands in the corpus word for word and a reserve row that the
    corpus has too are refused; a corpus row that repeats itself is not, since one of the two is kept.
    """
    keeps_out = pl.col("verdict").is_in(["duplicate", "contaminated"])
    repeats_itself = (
        (pl.lit(pool) == "corpus")
        & (pl.col("verdict") == "duplicate")
        & pl.col("matched").eq_missing(pl.col("example_id"))
    )
    return screen.filter(pl.col("pool") == pool, keeps_out, ~repeats_itself)


def normalised(text: str) -> str:
    r"""Return text as duplicates are compared: NFC, every run of white space one space.

    Examples
    --------
    >>> normalised("3\xa0+ 4\n ") == normalised("3 + 4"), normalised("3 + 4") == normalised("3 - 4")
    (True, False)
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


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
