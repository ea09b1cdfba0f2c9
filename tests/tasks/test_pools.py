"""The stages that look at pools: what is row-local is done once for each part, whatever comes beside it."""

import json
from random import Random

import polars as pl
import pytest

from benchmarks import corpus_rows
from benchmarks.planted import EDITS
from infra_core.corpus.schema import LENGTHS, OVERLAPS, RATINGS, SCREEN
from infra_core.recipe import CleanParams, ColumnMapping, RateParams, ScratchBase, ScreenParams, Source
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table, read_tables
from tasks._pools import pool_parts, pool_rows, scan_pool
from tasks._stage import RunContext
from tasks.base import base
from tasks.ingest import catalogued, counting, ingest
from tasks.rate_difficulty import rate_difficulty
from tasks.screen import screen

SHAPE = ScratchBase(
    kind="scratch", hidden_size=16, layers=1, heads=2, kv_heads=1, mlp_size=32, context=256, seed=3
)
MAPPING = ColumnMapping(prompt="problem", response="solution", answer="answer", difficulty="level")


def problems(count, seed):
    random = Random(seed)  # noqa: S311 - not for secrets
    rows = []
    for number in range(count):
        solution, answer = corpus_rows.solution(random)
        row = {"id": number, "problem": corpus_rows.problem(random), "solution": solution, "answer": answer}
        rows.append(row | {"level": f"Level {number % 5 + 1}"})
    return rows


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def source(name, folder):
    return Source(name=name, domain="math", uri=str(folder), mapping=MAPPING)


class World:
    """Two files of a source, one of another, and a benchmark."""

    def __init__(self, folder):
        self.folder = folder
        self.ctx = RunContext(ArtifactStore(str(folder / "store")))
        self.first, self.second = problems(30, 1), problems(20, 2)
        self.questions = problems(10, 3)
        write(folder / "ours" / "a.jsonl", self.first)
        write(folder / "ours" / "b.jsonl", self.second)
        write(folder / "copies" / "c.jsonl", problems(10, 4))
        write(folder / "exam" / "q.jsonl", self.questions)

    def built(self, clean=None):
        clean = clean or CleanParams()
        sources = [source("ours", self.folder / "ours"), source("copies", self.folder / "copies")]
        exam = [source("exam", self.folder / "exam")]
        drawn = base(self.ctx, params=SHAPE)
        corpus = ingest(
            self.ctx, base=counting(clean, drawn), params=catalogued(sources, clean, need_response=True)
        )
        pools = {
            "corpus": corpus,
            "reserve": None,
            "benchmarks": ingest(self.ctx, params=catalogued(exam, clean, need_response=False)),
        }
        looked = screen(self.ctx, **pools, params=ScreenParams())
        return corpus, looked, rate_difficulty(self.ctx, **pools, base=drawn, params=RateParams())

    def new_parts(self, artifact):
        parts = self.ctx.store.manifest(artifact).parts
        return sorted(name for name, part in parts.items() if "at" not in part)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_file_added_to_a_source_makes_new_parts_only_for_itself(world):
    before = world.built()
    write(world.folder / "ours" / "new.jsonl", problems(5, 9))
    after = world.built()
    for old, new in zip(before, after, strict=True):
        assert old != new
        known = set(world.ctx.store.manifest(old).parts)
        fresh = {
            name for name in world.new_parts(new) if not name.startswith(("screen.", "ratings.", "overlaps."))
        }
        assert fresh
        assert not fresh & known, "row-local parts of the old files are adopted, not made again"
    assert len(world.new_parts(after[0])) == 2, "kept and dropped rows of the one new chunk"


def test_what_the_stages_say_of_a_corpus_does_not_depend_on_how_it_grew(world, tmp_path):
    write(world.folder / "ours" / "new.jsonl", problems(5, 9))
    at_once = world.built()
    (world.folder / "ours" / "new.jsonl").unlink()
    grown = World(tmp_path)
    grown.ctx = RunContext(ArtifactStore(str(tmp_path / "other")))
    grown.built()
    write(tmp_path / "ours" / "new.jsonl", problems(5, 9))
    for one, other in zip(at_once, grown.built(), strict=True):
        parts = world.ctx.store.manifest(one).parts, grown.ctx.store.manifest(other).parts
        assert [(name, part["sha256"]) for name, part in parts[0].items()] == [
            (name, part["sha256"]) for name, part in parts[1].items()
        ]


def test_a_pool_reads_the_same_by_part_by_column_and_as_a_query(world):
    corpus, _, _ = world.built()
    whole = pool_rows(world.ctx, corpus)
    assert len(whole) == 60
    assert pl.concat([rows for _, rows in pool_parts(world.ctx, corpus)]).equals(whole)
    assert scan_pool(world.ctx, corpus).collect().equals(whole)
    assert pool_rows(world.ctx, corpus, "prompt").equals(whole.select("prompt"))
    assert pool_rows(world.ctx, None, "prompt").is_empty()
    (name, rows), *_ = pool_parts(world.ctx, corpus, only={next(iter(pool_parts(world.ctx, corpus)))[0]})
    assert rows.height < len(whole)
    assert name.startswith("copies-"), "parts are in the order of their names"


def test_planted_copies_are_listed_with_what_they_match(world):
    random, words = Random(0), corpus_rows.vocabulary()  # noqa: S311
    copies = [
        {**row, "problem": EDITS[edit](row["problem"], random, words), "solution": f"{row['solution']} Done."}
        for row, edit in zip(
            world.first, ["verbatim", "latex_spacing", "renamed", "labelled", "instructed"], strict=False
        )
    ]
    leaks = [
        {**row, "problem": EDITS[edit](row["problem"], random, words)}
        for row, edit in zip(world.questions, ["latex_spacing", "renumbered", "inside"], strict=False)
    ]
    write(world.folder / "copies" / "c.jsonl", [*copies, *leaks])
    corpus, looked, _ = world.built()
    found = read_table(world.ctx.store, looked, "screen.parquet", SCREEN)
    assert sorted(found["verdict"]) == ["contaminated"] * 3 + ["duplicate"] * 5
    kept = pool_rows(world.ctx, corpus, "example_id", "source", "raw_ref")
    matched = found.filter(verdict="duplicate").join(kept, left_on="matched", right_on="example_id")
    assert set(matched["source"]) == {"ours"}, "sources stand in order of trust"
    assert sorted(matched["raw_ref"]) == [f"a.jsonl#{line}" for line in range(1, 6)]
    told = read_table(world.ctx.store, looked, "overlaps.parquet", OVERLAPS)
    assert set(found.filter(verdict="contaminated")["matched"]) <= set(told["question_id"])
    assert told["shared"].str.len_chars().min() > 0


def test_lengths_are_those_that_training_sees(world):
    _, _, rated = world.built()
    ratings = read_table(world.ctx.store, rated, "ratings.parquet", RATINGS)
    lengths = read_tables(world.ctx.store, rated, LENGTHS, "lengths-*.parquet")
    assert len(lengths) == len(ratings) == 70
    assert (ratings["response_tokens"] > 0).all()


def test_cleaning_by_tokens_asks_the_base_model(world):
    short, long = (
        {**row, "solution": text} for row, text in zip(world.first, ("2+2=4", "so 4 " * 50), strict=False)
    )
    write(world.folder / "copies" / "c.jsonl", [short, long])
    limited, _, _ = world.built(CleanParams(min_response_tokens=6, max_response_tokens=6))
    assert pool_rows(world.ctx, limited)["response"].to_list() == ["2+2=4"], (
        "a token a character, and the end"
    )
