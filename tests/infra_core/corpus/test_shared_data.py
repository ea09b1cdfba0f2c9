"""Real rows in their published shapes, where they are at hand: presets, cleaning, ratings and the screen."""

from functools import cache
from pathlib import Path
from random import Random
from statistics import harmonic_mean as hmean

import polars as pl
import pytest

from benchmarks import leaks
from benchmarks.leaks import BENCHMARKS, CORPORA
from benchmarks.planted import EDITS, HELD
from infra_core.corpus.clean import ingest_rows
from infra_core.corpus.difficulty import rate
from infra_core.corpus.near import signatures
from infra_core.corpus.overlap import QuestionIndex
from infra_core.corpus.screen import screen
from infra_core.corpus.words import problem_table
from infra_core.recipe import CleanParams, ColumnMapping, RateParams, ScreenParams, Source
from infra_core.sources.catalog import catalog
from infra_core.sources.rows import chunk_shards, count_rows, read_chunks
from infra_core.verify.judge import Candidate, judge_answers

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.exists(), reason="the shared rows are not on this machine"),
]


def ingested(folder, file, preset):
    return leaks.ingested(DATA, folder, file, preset)


def pools(folder, files):
    return leaks.pools(DATA, folder, files)


@pytest.mark.parametrize(
    ("folder", "file", "preset"),
    [("corpora", *item) for item in CORPORA.items()] + [("benchmarks", *item) for item in BENCHMARKS.items()],
)
def test_every_row_of_every_file_is_accounted_for_and_most_are_used(folder, file, preset):
    kept, dropped = ingested(folder, file, preset)
    assert count_rows(catalog(str(DATA / folder / file))[0]) == len(kept) + len(dropped)
    assert len(kept) >= 0.95 * (len(kept) + len(dropped)), dropped["reason"].value_counts()
    assert kept.filter(pl.col("prompt").str.contains("\u00a0")).is_empty()


@pytest.mark.parametrize(("file", "preset"), sorted(CORPORA.items()))
def test_labels_are_all_known(file, preset):
    kept, _ = ingested("corpora", file, preset)
    unmapped = kept.filter(pl.col("difficulty").is_null() & pl.col("difficulty_raw").is_not_null())
    assert unmapped.is_empty()
    assert (kept["difficulty"].null_count() == 0) == (preset != "gsm8k")


def test_questions_have_what_they_are_judged_by():
    questions = pools("benchmarks", BENCHMARKS)
    judged = questions.filter(pl.col("answer").is_not_null() | pl.col("tests").is_not_null())
    assert len(judged) == len(questions) == 830


def test_reference_answers_pass_their_own_judge():
    """A preset that reads the wrong column, or a judge that wants another form, shows here."""
    for file, preset, kind in (("aime24.jsonl", "aime24", "math"), ("gsm8k_test.jsonl", "gsm8k", "math")):
        kept, _ = ingested("benchmarks", file, preset)
        rows = kept.head(20).select("response", "answer", "tests").rows()
        verdicts = judge_answers(kind, [Candidate(*row) for row in rows])
        assert sum(verdict.correct for verdict in verdicts) >= 18, [verdict.why for verdict in verdicts]


def test_bands_of_real_labels_are_all_there():
    corpus = pools("corpora", CORPORA)
    none = corpus.clear()
    rated = rate(corpus, none, none, RateParams(), lambda frame: [(1, 1)] * len(frame))
    found = rated.group_by("domain", "band").len()
    for domain in ("math", "code"):
        assert set(found.filter(domain=domain)["band"]) >= {"easy", "medium", "hard"}


@cache
def index():
    return QuestionIndex(pools("benchmarks", BENCHMARKS), ScreenParams())


def overlaps(rows):
    return leaks.overlaps(index(), rows)


def test_few_real_rows_overlap_a_benchmark_and_the_leaks_among_them_do():
    """Read by hand: 7 contaminated, about 15 suspect. A rule that flags boilerplate lists hundreds.

    Of the seven one is a problem of MATH-500 word for word and one of MBPP as LeetCode tells it; the others
    ask MATH's questions with another function or another point, or after the same figure.
    """
    found = overlaps(pools("corpora", CORPORA))
    contaminated = found.filter(verdict="contaminated")
    assert contaminated["example_id"].n_unique() <= 7
    assert set(contaminated["benchmark"]) == {"math500", "mbpp_sanitized"}
    assert contaminated.filter(rule="equal").height == 1
    assert found.filter(verdict="suspect")["example_id"].n_unique() <= 25


def test_problems_that_another_site_tells_are_caught_better_than_by_containment_alone():
    """Of 400 among 1,200; a share of their words is replaced as well.

    Measured, words as they are, 3 % and 6 % replaced: recall .97, .97, .94 and precision .96, .96, .98, where
    containment has .97, .97, .93 and .94, .95, .96.
    """
    rows, _ = ingested("corpora", "leetcode.jsonl.gz", "leetcode")
    _, ours, alone = zip(*leaks.elsewhere(rows), strict=True)
    assert min(recall for recall, _ in ours) >= 0.92
    assert min(precision for _, precision in ours) >= 0.95
    assert sum(map(hmean, ours)) > sum(map(hmean, alone))


@pytest.mark.parametrize("file", sorted(BENCHMARKS))
@pytest.mark.parametrize("edit", [*HELD[:3], "labelled", "instructed"])
def test_questions_of_every_benchmark_are_caught_in_a_training_file(file, edit):
    """Measured: all, but one of AIME's 30 whose figure is drawn by code that is set like a formula here."""
    questions, _ = ingested("benchmarks", file, BENCHMARKS[file])
    random = Random(0)  # noqa: S311
    planted = [EDITS[edit](text, random, ("word",)) for text in questions["prompt"]]
    rows = questions.with_columns(prompt=pl.Series(planted), response=pl.lit("x"))
    found = (
        overlaps(rows).filter(verdict="contaminated").filter(pl.col("question_id") == pl.col("example_id"))
    )
    assert found["example_id"].n_unique() >= int(0.98 * len(rows))


def test_no_two_different_problems_of_real_corpora_are_taken_for_duplicates():
    rows = pools("corpora", CORPORA).unique("prompt", keep="first", maintain_order=True)
    table = signatures(rows, problem_table(rows["prompt"]))
    texts = rows.select("example_id", "prompt")
    listed = screen(
        {"corpus": table}, {}, lambda ids: texts.filter(pl.col("example_id").is_in(ids)), ScreenParams()
    )
    assert listed.is_empty(), "measured: none of 3,940 prompts, siblings as Word Ladder II among them"


def test_the_known_traps_are_met_and_counted():
    """Non-breaking spaces in 1,200 rows, one row without a right chain, labels as strings and none at all."""
    corpus = pools("corpora", CORPORA)
    assert corpus.filter(pl.col("answer").str.contains(r"^\\d+\\.0$")).is_empty()
    misspelt = corpus.filter(difficulty_raw="Meidum")
    assert set(misspelt["difficulty"]) <= {0.5}
    assert corpus.filter(pl.col("prompt").str.contains("\u00a0")).is_empty()
    every = sum(count_rows(catalog(str(DATA / "corpora" / file))[0]) for file in CORPORA)
    dropped = sum(len(ingested("corpora", file, preset)[1]) for file, preset in CORPORA.items())
    assert len(corpus) + dropped == every == 3960


def test_each_sampled_answer_becomes_an_example_where_the_recipe_says_so():
    uri = str(DATA / "corpora" / "math_8_samples.jsonl")
    mapping = ColumnMapping(preset="math_8_samples", take="all")
    given = Source(name="samples", domain="math", uri=uri, mapping=mapping)
    (shard,) = catalog(uri)
    (chunk, rows), *_ = read_chunks(shard, chunk_shards(shard, "samples"))
    kept, dropped = ingest_rows(rows, given, CleanParams(), need_response=True)
    assert len(kept) + len(dropped) == 8 * chunk.stop
    assert kept["group"].n_unique() <= chunk.stop
    assert set(dropped["reason"].str.split(":").list.first()) <= {"incorrect", "repeated row", "truncated"}
