"""The mix stage writes part by part what the rule decides, and always the same bytes."""

import pytest

from infra_core.corpus.schema import LEFT, MIXTURE, RATINGS, SCREEN
from infra_core.mixture import mix as mixed
from infra_core.recipe import (
    CleanParams,
    Flip,
    KeepAll,
    MixParams,
    Random,
    RateParams,
    ScratchBase,
    ScreenParams,
    Source,
)
from infra_core.store.store import ArtifactStore
from infra_core.store.tables import read_table
from tasks._pools import pool_rows
from tasks._stage import RunContext
from tasks.base import base
from tasks.ingest import catalogued, ingest
from tasks.mix import mix
from tasks.rate_difficulty import rate_difficulty
from tasks.screen import screen

SHAPE = ScratchBase(
    kind="scratch", hidden_size=16, layers=1, heads=2, kv_heads=1, mlp_size=32, context=256, seed=0
)
MADE = {
    "prompt": "problem",
    "response": "solution",
    "answer": "answer",
    "tests": "tests",
    "difficulty": "level",
}
FLIP = Flip(kind="flip", match="tokens")
RULES = {
    "keep_all": MixParams(rule=KeepAll(kind="keep_all"), seed=0),
    "flip": MixParams(rule=FLIP, seed=0),
    "random": MixParams(rule=Random(kind="random"), like=FLIP, seed=0),
}


def pool(ctx, split, rows, levels):
    """A part of maths and one of code."""
    sources = [
        Source(name=f"{kind}_{split}", domain=domain, mapping=MADE,
               uri=f"made://tiny_{kind}?rows={rows}&levels={levels}&split={split}")
        for kind, domain in (("math", "math"), ("code", "code"))
    ]  # fmt: skip
    return ingest(ctx, params=catalogued(sources, CleanParams(), need_response=True))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A corpus of several parts, a reserve, and what is known of both."""
    ctx = RunContext(ArtifactStore(str(tmp_path_factory.mktemp("store"))))
    pools = {"corpus": pool(ctx, "train", 90, "1-3"), "reserve": pool(ctx, "reserve", 120, "1-3")}
    asked = {**pools, "benchmarks": pool(ctx, "exam", 4, "1-3")}
    drawn = base(ctx, params=SHAPE)
    return ctx, {
        **pools,
        "ratings": rate_difficulty(ctx, **asked, base=drawn, params=RateParams()),
        "screen": screen(ctx, **asked, params=ScreenParams()),
    }


@pytest.mark.parametrize("name", RULES)
def test_what_is_written_part_by_part_is_what_the_rule_makes_of_the_whole(world, name):
    """Rows, order and columns; and with those that left it accounts for every row of the corpus."""
    ctx, given = world
    made = mix(ctx, **given, params=RULES[name])
    mixture = read_table(ctx.store, made, "mixture.parquet", MIXTURE)
    corpus, reserve = (pool_rows(ctx, given[pool]) for pool in ("corpus", "reserve"))
    ratings = read_table(ctx.store, given["ratings"], "ratings.parquet", RATINGS)
    verdicts = read_table(ctx.store, given["screen"], "screen.parquet", SCREEN)
    assert mixture.equals(mixed(RULES[name], corpus, reserve, ratings, verdicts))
    gone = read_table(ctx.store, made, "dropped-rows.parquet", LEFT)
    assert (mixture["origin"] == "kept").sum() + gone.height == corpus.height
    if name != "keep_all":
        assert (mixture["origin"] == "swapped_in").any()


def test_the_same_recipe_writes_the_same_bytes(world, tmp_path):
    """In another store, from the same rows."""
    ctx, given = world
    made = mix(ctx, **given, params=RULES["flip"])
    elsewhere = RunContext(ArtifactStore(str(tmp_path / "again")))
    pools = {
        "corpus": pool(elsewhere, "train", 90, "1-3"),
        "reserve": pool(elsewhere, "reserve", 120, "1-3"),
    }
    asked = {**pools, "benchmarks": pool(elsewhere, "exam", 4, "1-3")}
    again = mix(
        elsewhere,
        **pools,
        ratings=rate_difficulty(elsewhere, **asked, base=base(elsewhere, params=SHAPE), params=RateParams()),
        screen=screen(elsewhere, **asked, params=ScreenParams()),
        params=RULES["flip"],
    )
    assert again.key == made.key
    assert elsewhere.store.manifest(again).parts == ctx.store.manifest(made).parts
