"""An index in the store: its blocks are shared and never change, and it answers what exact scores answer."""

import json

import polars as pl
import pytest

from infra_core.corpus.schema import SCORES
from infra_core.errors import RequestError
from infra_core.influence.search import FOUND
from infra_core.recipe import CleanParams, FactorParams, IndexParams, ScoreParams
from infra_core.store.tables import read_table, read_tables
from tasks._row_local import of_texts
from tasks.ask import AGREED, ANSWERS, LEADING, LED, AskRun, ask
from tasks.index import IndexRun, index
from tasks.ingest import catalogued, ingest
from tasks.score import score
from tests.tasks.test_partitions import ALONE, POSITION, SMALL, digests, fitted, ingested, prepared, rows

MLP = FactorParams(modules="mlp")
ALL = IndexParams(coordinates=10_000)  # more than any block has
RUN = IndexRun(keep=ALL, spans=None)
ASKED = AskRun(name="small", keep=ALL, scores=POSITION, contrasts=(), best=2, sample=6, seed=0)
ROUNDING = 1e-5  # of the largest score: sums in fp32


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Context, what is scored, queries and an index of it."""
    ctx, given, queries = prepared(tmp_path_factory.mktemp("asked"), SMALL)
    scored = {**given, "factors": fitted(ctx, given, MLP)[1]}
    return ctx, scored, queries, index(ctx, **scored, params=RUN)


def assert_near(found, exact, error):
    assert ((found - exact).abs() <= 5 * error + ROUNDING * exact.abs().max()).all()


@pytest.mark.parametrize("level", ["example", "span"])
def test_what_an_index_puts_first_and_last_is_told_with_its_exact_score(run, level):
    ctx, scored, queries, _ = run
    keep = ALL.model_copy(update={"level": level})
    how = ScoreParams(token_rule="position", spans="lines" if level == "span" else None)
    blocks = index(ctx, **scored, params=IndexRun(keep=keep, spans=how.spans))
    asked = ASKED.model_copy(update={"keep": keep, "scores": how})
    found = ask(ctx, **scored, index=blocks, queries=queries, params=asked)
    exact = read_tables(ctx.store, score(ctx, **scored, queries=queries, params=how), SCORES)
    led = read_table(ctx.store, found, LEADING, LED)
    both = led.join(exact, on=["example_id", "group"], suffix="_scored")
    assert len(both) == len(led) == 4
    assert_near(both["influence"], both["influence_scored"], 0.0)
    assert_near(both["indexed"], both["influence"], both["error"])
    assert both.filter(pl.col("side") == "helpful")["influence"].max() == exact["influence"].max()
    assert led["side"].to_list() == ["helpful"] * 2 + ["harmful"] * 2
    assert led["influence"].to_list()[0] == led["influence"].max()
    assert led["influence"].to_list()[2] == led["influence"].min()
    told = json.loads(ctx.store.read(found, AGREED))
    assert {row["overlap"] for row in told["overlap"]} == {1.0}
    assert told["agreement"][0]["spearman"] > 0.9
    assert told["agreement"][0]["n"] == 6
    answers = read_table(ctx.store, found, ANSWERS, FOUND)
    assert answers["example_id"].n_unique() == told["rows"] == 12
    assert answers["span"].is_null().all() == (level == "example")


def test_another_question_needs_no_other_index_and_new_rows_need_blocks_of_theirs_alone(run, tmp_path):
    ctx, scored, queries, blocks = run
    sources = (rows(tmp_path, "sums"), rows(tmp_path, "more"))
    grown = scored | {"corpus": ingested(ctx, *sources)}
    larger = index(ctx, **grown, params=RUN)
    parts = ctx.store.manifest(larger).parts
    assert {name for name, part in parts.items() if "at" in part} == set(ctx.store.manifest(blocks).parts)
    assert len(parts) == 4  # two blocks, and what of their rows has none
    sizes = {ctx.store.manifest(each).provenance["row_bytes"] for each in (blocks, larger)}
    assert sizes == {str(3 * 3 * (16 * 32 + 4))}  # all of three weights of 16 × 32 in three layers
    damped = ASKED.model_copy(update={"scores": POSITION.model_copy(update={"damping": 1.0})})
    found = {ask(ctx, **grown, index=larger, queries=queries, params=params) for params in (ASKED, damped)}
    assert len(found) == 2
    told = [json.loads(ctx.store.read(each, AGREED)) for each in found]
    assert [each["rows"] for each in told] == [24, 24]


@pytest.mark.slow
def test_blocks_are_the_same_to_the_byte_whatever_memory_there_is(run, tmp_path):
    ctx, scored, queries, blocks = run
    small, given, _ = prepared(tmp_path, SMALL, factor_bytes=ALONE)
    again = {**given, "factors": fitted(small, given, MLP)[1]}
    by_layer = index(small, **again, params=RUN)
    assert digests(small, [by_layer]) == digests(ctx, [blocks])
    found = [
        read_table(where.store, ask(where, **what, index=of, queries=queries, params=ASKED), LEADING, LED)
        for where, what, of in ((ctx, scored, blocks), (small, again, by_layer))
    ]
    assert found[0]["example_id"].to_list() == found[1]["example_id"].to_list()
    assert_near(found[0]["indexed"], found[1]["indexed"], 0.0)


def test_rows_of_ones_own_are_queries_and_differences_of_them_are_asked_for(run, tmp_path):
    ctx, scored, _, blocks = run
    sources = [rows(tmp_path, "plain", count=3), rows(tmp_path, "other", count=2)]
    pool = ingest(ctx, params=catalogued(sources, CleanParams(), need_response=True))
    asked = ASKED.model_copy(update={"contrasts": (("plain", "other"),), "best": 12})
    led = read_table(
        ctx.store, ask(ctx, **scored, index=blocks, asked=pool, params=asked), LEADING, LED
    ).filter(pl.col("side") == "helpful")
    by_group = [led.filter(pl.col("group") == name).sort("example_id") for name in ("plain", "other")]
    difference = led.filter(pl.col("group") == "plain - other").sort("example_id")
    assert_near(difference["influence"], by_group[0]["influence"] - by_group[1]["influence"], 0.0)
    assert_near(difference["indexed"], difference["influence"], difference["error"])
    wrong = asked.model_copy(update={"contrasts": (("plain", "nobody"),)})
    with pytest.raises(RequestError, match="'nobody'; there are other, plain"):
        ask(ctx, **scored, index=blocks, asked=pool, params=wrong)


def test_rows_at_the_end_of_a_file_leave_its_full_parts_the_text_that_they_were(run, tmp_path):
    """And text is what a block hangs on, whatever its part is called."""
    ctx = run[0]
    before, after = (ingested(ctx, rows(tmp_path, "long", count=count)) for count in (501, 502))
    texts = [list(of_texts(ctx, corpus).values()) for corpus in (before, after)]
    assert texts[0][0] == texts[1][0]
    assert texts[0][1] != texts[1][1]


def test_a_row_that_is_longer_than_the_context_is_listed_in_place_of_indexed(run, tmp_path):
    ctx, scored, _, _ = run
    source = rows(tmp_path, "sums", count=1)
    text = {"asked": "Say a word.", "told": "word " * SMALL.context}
    (tmp_path / "sums.jsonl").write_text(json.dumps(text) + "\n")
    found = index(ctx, **scored | {"corpus": ingested(ctx, source)}, params=RUN)
    [listed] = ctx.store.parts(found, "*.jsonl")
    assert "longer than the model's context" in ctx.store.read(found, listed).decode()
