"""Real rows in their published shapes, where they are at hand: presets, cleaning, ratings and the screen."""

from functools import cache
from pathlib import Path

import polars as pl
import pytest

from infra_core.corpus.clean import ingest_rows
from infra_core.corpus.difficulty import rate
from infra_core.corpus.screen import screen
from infra_core.recipe import CleanParams, ColumnMapping, RateParams, ScreenParams, Source
from infra_core.sources.catalog import catalog
from infra_core.sources.rows import chunk_shards, count_rows, read_chunks
from infra_core.verify.judge import Candidate, judge_answers

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.exists(), reason="the shared rows are not on this machine"),
]
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


@cache
def ingested(folder, file, preset):
    name = file.partition(".")[0]
    source = Source(
        name=name,
        domain=DOMAIN.get(preset, "math"),
        uri=str(DATA / folder / file),
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
    assert count_rows(shard) == len(kept) + len(dropped)
    return kept, dropped


def pools(folder, files):
    return pl.concat(ingested(folder, file, preset)[0] for file, preset in files.items())


@pytest.mark.parametrize(
    ("folder", "file", "preset"),
    [("corpora", *item) for item in CORPORA.items()] + [("benchmarks", *item) for item in BENCHMARKS.items()],
)
def test_every_row_of_every_file_is_accounted_for_and_most_are_used(folder, file, preset):
    kept, dropped = ingested(folder, file, preset)
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


def test_the_screen_lists_few_real_rows_and_the_leaks_among_them():
    """Read by hand: 2 contaminated, 12 suspect. A rule that flags boilerplate lists hundreds."""
    corpus, questions = pools("corpora", CORPORA), pools("benchmarks", BENCHMARKS)
    found = screen(corpus, corpus.clear(), questions, ScreenParams())
    counts = dict(found["verdict"].value_counts().rows())
    assert counts["contaminated"] == 2
    assert counts["suspect"] <= 15
    exact = found.filter(pl.col("containment") == 1)
    assert exact["matched_source"].to_list() == ["math500"], (
        "one problem of MATH-500 is in the corpus word for word"
    )


def test_real_questions_are_found_inside_other_words():
    """Measured: 395 of 400 contaminated, the other 5 suspect: short questions in common words."""
    questions, _ = ingested("benchmarks", "gsm8k_test.jsonl", "gsm8k")
    wrapped = questions.with_columns(
        pl.format("Please solve this with care. {} Put the answer in a box.", "prompt").alias("prompt"),
        pl.format("wrapped {}", "example_id").alias("example_id"),
    )
    found = screen(wrapped, wrapped.clear(), questions, ScreenParams())
    assert len(found) == len(questions)
    assert len(found.filter(verdict="contaminated")) >= 390
