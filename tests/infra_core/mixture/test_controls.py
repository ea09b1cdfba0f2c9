"""Controls are as large as what they copy, and differ in what decides."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.errors import DataError
from infra_core.mixture import Evidence
from infra_core.recipe import (
    Flip,
    Identity,
    LengthMatched,
    MixParams,
    Only,
    Perplexity,
    Prune,
    Random,
    Rds,
    Reverse,
    Select,
)
from tests.infra_core.mixture.worlds import BANDS, carried_out, influence, rows

FLIP = Flip(kind="flip", match="tokens")
PRUNE = Prune(kind="prune", by="correct", fraction=0.3)
SELECT = Select(kind="select", match="tokens", pool="both")
TEXT = dict.fromkeys(("pool", "example_id", "domain"), pl.String)
REDRAWN = [
    Random(kind="random"),
    LengthMatched(kind="length_matched"),
    Perplexity(kind="perplexity", keep="mid"),
    Perplexity(kind="perplexity", keep="top"),
    Rds(kind="rds"),
]


def evidence(corpus_rows, reserve_rows, seed=0):
    """Influence, perplexity and nearness of every row, drawn."""
    random = np.random.default_rng(seed)
    pools = {"corpus": corpus_rows, "reserve": reserve_rows}
    frames = [
        pl.DataFrame(
            {
                "pool": pool,
                "example_id": [f"{pool}{n:04d}" for n in range(len(drawn))],
                "domain": [domain for domain, _, _ in drawn],
                "nll_per_token": random.random(len(drawn)),
                "cosines": random.random((len(drawn), 3)).tolist(),
            },
            schema_overrides={"nll_per_token": pl.Float64, "cosines": pl.Array(pl.Float32, 3), **TEXT},
        )
        for pool, drawn in pools.items()
    ]
    known = pl.concat(frames)
    return Evidence(
        influence=pl.concat(
            influence(random.normal(size=len(drawn)), f"{group}/correct", pool)
            for group in ("math", "code")
            for pool, drawn in pools.items()
        ),
        perplexity=known.drop("cosines"),
        nearness=known.select("pool", "example_id", "cosines"),
        query_domains=("math", "code", "math"),
    )


def sizes(params, corpus_rows, reserve_rows, known):
    coming, gone, _ = carried_out(params, corpus_rows, reserve_rows, known)
    came = coming.filter(pl.col("origin") == "swapped_in")
    return {
        domain: tuple(frame.filter(pl.col("domain") == domain)["tokens"].sum() for frame in (gone, came))
        for domain in ("math", "code")
    }


def many(pool, count):
    return [
        (("math", "code")[n % 2], BANDS[n // 2 % 3], 20 + n % 7 + (7 if pool == "reserve" else 0))
        for n in range(count)
    ]


@pytest.mark.parametrize(
    "control", REDRAWN, ids=lambda control: f"{control.kind} {getattr(control, 'keep', '')}"
)
@pytest.mark.parametrize("rule", [FLIP, PRUNE], ids=lambda rule: rule.kind)
def test_a_control_moves_as_many_tokens_of_every_domain_as_the_rule_it_copies(control, rule):
    """Within 1 %, and other rows than the rule's."""
    corpus_rows, reserve_rows = many("corpus", 800), many("reserve", 1200)
    known = evidence(corpus_rows, reserve_rows)
    params = MixParams(rule=rule, seed=0)
    copied = MixParams(rule=control, like=rule, seed=0)
    for domain, (out, came) in sizes(params, corpus_rows, reserve_rows, known).items():
        also_out, also_came = sizes(copied, corpus_rows, reserve_rows, known)[domain]
        assert abs(out - also_out) <= 0.01 * out
        assert abs(came - also_came) <= 0.01 * out
    ours, theirs = (
        set(carried_out(which, corpus_rows, reserve_rows, known)[1]["example_id"])
        for which in (params, copied)
    )
    assert ours != theirs


@pytest.mark.parametrize("control", [Random(kind="random"), *REDRAWN[2:]], ids=lambda control: control.kind)
def test_a_rival_selects_under_the_budget_of_the_selection_it_copies(control):
    """What is left in the end is as large, whoever chose it."""
    corpus_rows, reserve_rows = many("corpus", 400), many("reserve", 600)
    known = evidence(corpus_rows, reserve_rows)
    for params in (MixParams(rule=SELECT, seed=0), MixParams(rule=control, like=SELECT, seed=0)):
        coming, _, _ = carried_out(params, corpus_rows, reserve_rows, known)
        for domain in ("math", "code"):
            held = sum(tokens for name, _, tokens in corpus_rows if name == domain)
            here = coming.filter(pl.col("domain") == domain)["tokens"].sum()
            assert abs(here - held) <= 0.01 * held


@settings(deadline=None, max_examples=25)
@given(rows, rows, st.sampled_from([FLIP, PRUNE, SELECT]), st.sampled_from(REDRAWN), st.integers(0, 3))
def test_whatever_is_drawn_rows_are_accounted_for_and_stay_in_their_domain(
    corpus_rows, reserve_rows, rule, control, seed
):
    """For pools of any shape, empty ones among them."""
    if isinstance(rule, Select) and isinstance(control, LengthMatched):
        return  # which a recipe refuses
    known = evidence(corpus_rows, reserve_rows, seed)
    if isinstance(rule, Prune) and not corpus_rows:
        return  # nothing to judge by
    params = MixParams(rule=control, like=rule, seed=seed)
    coming, gone, _ = carried_out(params, corpus_rows, reserve_rows, known)
    assert coming["example_id"].is_unique().all()
    assert coming.filter(pl.col("pool") == "corpus").height + gone.height == len(corpus_rows)
    if rule is FLIP:
        for domain in ("math", "code"):
            out, came = (
                frame.filter(pl.col("domain") == domain)
                for frame in (gone, coming.filter(pl.col("origin") == "swapped_in"))
            )
            assert abs(out["tokens"].sum() - came["tokens"].sum()) <= 30


def test_a_length_matched_control_moves_rows_as_long_as_the_flip_does():
    """Easy rows are short and hard ones long; random rows are in between, and the matched ones are not."""
    length = {"easy": 10, "medium": 30, "hard": 60}
    corpus_rows = [("math", band, length[band] + n % 9 * 5) for n in range(300) for band in length]
    reserve_rows = [("math", band, length[band] + n % 9 * 5) for n in range(300) for band in length]
    like = Flip(kind="flip", match="tokens", fraction=0.4)
    means = {}
    for rule in (like, Random(kind="random"), LengthMatched(kind="length_matched")):
        params = MixParams(rule=rule, like=None if rule is like else like, seed=0)
        coming, gone, _ = carried_out(params, corpus_rows, reserve_rows)
        came = coming.filter(pl.col("origin") == "swapped_in")
        means[rule.kind] = gone["tokens"].mean(), came["tokens"].mean()
    assert means["length_matched"] == pytest.approx(means["flip"], rel=0.02)
    assert means["random"][0] > 1.3 * means["flip"][0]


def test_reverse_brings_back_what_the_flip_sends_away():
    """Each band leaves in one of the two and comes in in the other."""
    corpus_rows, reserve_rows = many("corpus", 300), many("reserve", 300)
    bands = []
    for params in (MixParams(rule=FLIP, seed=0), MixParams(rule=Reverse(kind="reverse"), like=FLIP, seed=0)):
        coming, gone, _ = carried_out(params, corpus_rows, reserve_rows)
        came = coming.filter(pl.col("origin") == "swapped_in")
        bands.append({
            domain: (set(gone.filter(domain=domain)["band"]), set(came.filter(domain=domain)["band"]))
            for domain in ("math", "code")
        })
    flipped, turned = bands
    assert flipped == {"math": ({"easy"}, {"hard"}), "code": ({"hard"}, {"easy"})}
    assert turned == {domain: (into, out) for domain, (out, into) in flipped.items()}


def test_reverse_prunes_the_best_and_selects_the_worst():
    found = Evidence(influence=influence([1, 2, 3, 4]))
    for like, stay in (
        (Prune(kind="prune", by="correct", fraction=0.5), ["corpus0000", "corpus0001"]),
        (Select(kind="select", match="rows", pool="corpus", fraction=0.5), ["corpus0000", "corpus0001"]),
    ):
        params = MixParams(rule=Reverse(kind="reverse"), like=like, seed=0)
        coming, _, _ = carried_out(params, [("math", "easy", 9)] * 4, (), found)
        assert coming["example_id"].to_list() == stay


def test_only_some_domains_move_and_just_as_they_do_in_the_whole():
    corpus_rows, reserve_rows = many("corpus", 300), many("reserve", 300)
    whole = carried_out(MixParams(rule=FLIP, seed=0), corpus_rows, reserve_rows)[1]
    params = MixParams(rule=Only(kind="only", domains=("math",)), like=FLIP, seed=0)
    part = carried_out(params, corpus_rows, reserve_rows)[1]
    assert part.equals(whole.filter(domain="math"))


def test_identity_is_the_rule_itself_on_what_it_is_given():
    """Which curvature influence is of is decided by who hands it over."""
    found = Evidence(influence=influence([1, 2, 3, 4]))
    gone = [
        carried_out(MixParams(rule=rule, like=like, seed=0), [("math", "easy", 9)] * 4, (), found)[1]
        for rule, like in ((PRUNE, None), (Identity(kind="identity"), PRUNE))
    ]
    assert gone[0].equals(gone[1])


def test_a_control_without_its_evidence_says_what_it_needs():
    params = MixParams(rule=Rds(kind="rds"), like=FLIP, seed=0)
    with pytest.raises(DataError, match="decides by nearness to queries, and was given none"):
        carried_out(params, many("corpus", 30), many("reserve", 30))
