"""Every rule on a whole run: asked for by a recipe, given what it decides by, trained on as it says."""

import polars as pl
import pytest

from flows.attribute import attribute
from flows.curate import retrain
from flows.evidence import gather_evidence, mix_arm
from infra_core.corpus.schema import CORPUS, LEFT, LIKELIHOODS, MIXTURE, NEARNESS, SCORES
from infra_core.recipe import Recipe
from infra_core.store.tables import read_table, read_tables
from infra_core.training.losses import LOSSES
from tasks.train import train
from tests.flows.shrunk import shrunk_tiny

ARMS = {
    "flip": {"kind": "flip", "match": "tokens", "hold": ["source", "length"]},
    "measured": {"kind": "flip", "match": "tokens", "directions": "measured"},
    "prune": {"kind": "prune", "by": "correct", "fraction": 0.25},
    "select": {"kind": "select", "match": "tokens", "pool": "both"},
    "weigh": {"kind": "weigh", "by": "influence", "strength": 0.5},
    "mask": {"kind": "spans", "action": "mask", "fraction": 0.2},
    "drop": {"kind": "spans", "action": "drop", "fraction": 0.2},
    "helpful_masked": {"kind": "reverse", "like": "mask"},
    "helpful_dropped": {"kind": "reverse", "like": "drop"},
    "mid": {"kind": "perplexity", "keep": "mid", "like": "flip"},
    "rds": {"kind": "rds", "like": "select"},
    "identity": {"kind": "identity", "like": "prune"},
    "unworked": {"kind": "ablate", "behaviours": ["computation"], "action": "mask"},
    "as_much_else": {"kind": "random", "like": "unworked"},
    "unverified": {"kind": "ablate", "behaviours": ["verification"], "action": "mask"},
    "unsigned": {"kind": "ablate", "token_classes": ["operator"], "action": "mask"},
    "as_many_words": {"kind": "random", "like": "unsigned"},
}


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    """The finished run with more arms: its scores are there, what else they ask for is built."""
    given = Recipe.load(shrunk_tiny(tmp_path_factory.mktemp("rules"), mixtures=ARMS))
    found = attribute(given, finished.ctx)
    known = gather_evidence(given, finished.ctx, found, map(given.mixing, ARMS))
    mixtures = {arm: mix_arm(given, finished.ctx, found.data, known, arm) for arm in ARMS}
    return given, found, known, mixtures


def rows(finished, mixture):
    return read_table(finished.ctx.store, mixture, "mixture.parquet", MIXTURE)


@pytest.mark.parametrize("arm", ARMS)
def test_every_row_of_the_corpus_is_in_the_mixture_or_has_left_it(finished, run, arm):
    _, found, _, mixtures = run
    corpus = read_tables(finished.ctx.store, found.data.corpus, CORPUS)
    mixture = rows(finished, mixtures[arm])
    gone = read_table(finished.ctx.store, mixtures[arm], "dropped-rows.parquet", LEFT)
    assert (mixture["origin"] != "swapped_in").sum() + gone.height == corpus.height
    assert mixture["example_id"].is_unique().all()
    if arm == "prune":
        assert gone.height == round(0.25 * corpus.height)


def test_what_arms_ask_for_covers_every_row_that_fits_the_model(finished, run):
    """Perplexity and nearness part by part; of queries each has its cosine."""
    _, found, known, _ = run
    store = finished.ctx.store
    for pool, prefix in ((found.data.corpus, ""), (found.data.reserve, "reserve_")):
        ids = set(read_tables(store, pool, CORPUS)["example_id"])
        assert set(read_tables(store, known[f"{prefix}perplexity"], LIKELIHOODS)["question_id"]) == ids
        near = read_tables(store, known[f"{prefix}nearness"], NEARNESS)
        assert set(near["example_id"]) == ids
        assert near["cosines"].list.len().n_unique() == 1
        assert near["cosines"].list.eval(pl.element().abs().max()).list.first().max() <= 1 + 1e-5


def test_identity_curvature_is_another_influence_on_the_same_rows(finished, run):
    _, _, known, _ = run
    plain, ours = (read_tables(finished.ctx.store, known[kind], SCORES) for kind in ("identity", "scores"))
    assert plain.select("example_id", "group").equals(ours.select("example_id", "group"))
    assert not plain["influence"].equals(ours["influence"])


@pytest.mark.parametrize("arm", ["helpful_masked", "helpful_dropped", "weigh", "unworked", "unsigned"])
def test_training_scores_what_the_mixture_says_is_scored(finished, run, arm):
    """Masked stretches carry no loss, dropped ones are not there; a weight takes no token away."""
    given, found, _, mixtures = run
    params = given.train.run(1)
    trained = train(finished.ctx, base=found.base, corpus=mixtures[arm], params=params)
    losses = read_table(finished.ctx.store, trained, "losses.parquet", LOSSES)
    mixture = rows(finished, mixtures[arm])
    untouched = rows(finished, found.keep_all)
    assert losses["scored_tokens"].sum() == params.epochs * mixture["scored_tokens"].sum()
    if arm != "weigh":
        assert mixture["scored_tokens"].sum() < untouched["scored_tokens"].sum()
        assert (mixture["origin"] == "edited").any()


def test_arms_of_the_same_rows_are_trained_once(finished, run):
    """No step of the tiny world verifies, so that nothing is masked: it is the corpus, and its runs are."""
    given, found, _, mixtures = run
    asked = {"keep_all": found.keep_all, "prune": mixtures["prune"], "unverified": mixtures["unverified"]}
    arms = retrain(given, finished.ctx, found, asked)
    assert list(arms) == ["base", *asked]
    assert arms["unverified"] == arms["keep_all"]
    assert set(arms["prune"].values()).isdisjoint(arms["keep_all"].values())
