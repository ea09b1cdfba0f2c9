"""A mixture is the corpus with a measured swap, or with none."""

import io
import logging

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.schema import LEFT, MIXTURE
from infra_core.errors import DataError, RequestError
from infra_core.mixture import carry_out, composition, decide, mix, open_pools
from infra_core.recipe import Flip, KeepAll, MixParams, Random
from tests.infra_core.mixture.worlds import BANDS, carried_out, rows, screened, tokens_of, world


def flip(match="tokens", seed=0, **fields):
    return MixParams(rule=Flip(kind="flip", match=match, **fields), seed=seed)


def control(match="tokens", seed=0, **fields):
    like = Flip(kind="flip", match=match, **fields)
    return MixParams(rule=Random(kind="random"), like=like, seed=seed)


rules = st.sampled_from([
    make(match, seed, fraction=fraction)
    for make in (flip, control)
    for match in ("rows", "tokens")
    for seed in (0, 1)
    for fraction in (0.3, 1.0)
])


def outcome(params, corpus_rows, reserve_rows, screen):
    """A mixture with what left it, what came in, and all ratings."""
    corpus, reserve, ratings = world(corpus_rows, reserve_rows)
    mixture = mix(params, corpus, reserve, ratings, screen)
    incoming = mixture.filter(pl.col("origin") == "swapped_in")
    left = corpus.join(mixture, on="example_id", how="anti")
    return mixture, incoming, left, ratings


@settings(deadline=None, max_examples=30)
@given(rules, rows, rows)
def test_every_row_is_kept_or_left_and_none_comes_in_twice(params, corpus_rows, reserve_rows):
    """Rows are accounted for, whatever the pools hold; the schema is the promised one."""
    mixture, incoming, left, _ = outcome(params, corpus_rows, reserve_rows, screened())
    kept = mixture.filter(pl.col("origin") == "kept")
    assert mixture.schema == pl.Schema(MIXTURE)
    assert mixture["example_id"].is_unique().all()
    assert kept.height + left.height == len(corpus_rows)
    assert incoming["example_id"].str.starts_with("reserve").all()
    named = incoming["replaces"].drop_nulls()
    assert named.is_unique().all()
    assert named.is_in(left["example_id"].to_list()).all()


@settings(deadline=None, max_examples=30)
@given(rules, rows, rows)
def test_no_swap_crosses_a_domain(params, corpus_rows, reserve_rows):
    """What comes in has the domain, and for a flip the band, of its direction."""
    _, incoming, left, ratings = outcome(params, corpus_rows, reserve_rows, screened())
    bands = dict(ratings.select("example_id", "band").iter_rows())
    domains = dict(left.select("example_id", "domain").iter_rows())
    for row in incoming.iter_rows(named=True):
        assert row["replaces"] is None or domains[row["replaces"]] == row["domain"]
        if isinstance(params.rule, Flip):
            assert bands[row["example_id"]] == params.rule.directions[row["domain"]][1]


@settings(deadline=None, max_examples=30)
@given(rules, rows, rows)
def test_the_budget_is_kept_as_well_as_the_rows_allow(params, corpus_rows, reserve_rows):
    """Rows match exactly; tokens to within half a row, or the pool is empty on one side."""
    _, incoming, left, ratings = outcome(params, corpus_rows, reserve_rows, screened())
    match = params.rule.match or params.like.match  # a control is measured as what it copies
    for domain in ("math", "code"):
        out, come = (frame.filter(pl.col("domain") == domain)["example_id"] for frame in (left, incoming))
        if match == "rows":
            assert len(out) == len(come)
        else:
            assert abs(tokens_of(out, ratings) - tokens_of(come, ratings)) <= 30 or len(out) == 0


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from([flip, control]),
    st.lists(st.integers(2, 20), min_size=60, max_size=120),
    st.integers(0, 9),
)
def test_tokens_are_kept_within_one_percent_where_no_row_is_over_two(make, sizes, seed):
    """The bound that `fill` promises, seen from outside; also when the reserve is the smaller side."""
    corpus_rows = [("math", BANDS[number % 3], 20 * size) for number, size in enumerate(sizes)] * 3
    reserve_rows = [("math", BANDS[number % 3], size) for number, size in enumerate(sizes)] * 20
    _, incoming, left, ratings = outcome(make("tokens", seed), corpus_rows, reserve_rows, screened())
    out, come = tokens_of(left["example_id"], ratings), tokens_of(incoming["example_id"], ratings)
    longest = max(sizes) * 20
    assert abs(out - come) <= max(0.01 * out, 0.5 * longest if out < 50 * longest else 0)


@settings(deadline=None, max_examples=30)
@given(rules, rows, rows)
def test_the_same_recipe_writes_the_same_bytes_in_whatever_order_rows_are_read(
    params, corpus_rows, reserve_rows
):
    """Same seed, same Parquet; and the draw does not hang on the order of parts."""
    corpus, reserve, ratings = world(corpus_rows, reserve_rows)
    first, again = io.BytesIO(), io.BytesIO()
    mix(params, corpus, reserve, ratings, screened()).write_parquet(first)
    mix(params, corpus, reserve, ratings, screened()).write_parquet(again)
    turned = mix(params, corpus.reverse(), reserve.reverse(), ratings.reverse(), screened())
    assert first.getvalue() == again.getvalue()
    assert turned.sort("example_id").equals(pl.read_parquet(io.BytesIO(first.getvalue())).sort("example_id"))


def test_keep_all_leaves_out_only_what_the_screen_dropped():
    """Suspects stay, and of two equal rows one stays."""
    corpus, reserve, ratings = world([("math", "easy", 9)] * 5, [])
    twice = pl.concat([corpus, corpus[:1]])
    screen = screened(
        ("corpus0000", "corpus", "duplicate", "corpus0000"),
        ("corpus0001", "corpus", "duplicate", "corpus0000"),
        ("corpus0002", "corpus", "contaminated", "question"),
        ("corpus0003", "corpus", "suspect", "question"),
    )
    mixture = mix(MixParams(rule=KeepAll(kind="keep_all"), seed=0), twice, reserve, ratings, screen)
    assert mixture["example_id"].to_list() == ["corpus0000", "corpus0003", "corpus0004"]
    assert set(mixture["origin"]) == {"kept"}


def test_nothing_comes_in_that_is_held_or_was_refused():
    """A reserve row equal to a corpus row, or refused by the screen, stays out."""
    corpus, reserve, ratings = world([("math", "easy", 9)] * 3, [("math", "hard", 9)] * 3)
    held = corpus[0].with_columns(pl.lit("reserve").alias("source"))
    rated = ratings.filter(pl.col("example_id") == "corpus0000").with_columns(
        pool=pl.lit("reserve"), band=pl.lit("hard")
    )
    screen = screened(("reserve0001", "reserve", "contaminated", "question"))
    mixture = mix(flip("rows"), corpus, pl.concat([reserve, held]), pl.concat([ratings, rated]), screen)
    incoming = mixture.filter(pl.col("origin") == "swapped_in")
    assert set(incoming["example_id"]) == {"reserve0000", "reserve0002"}


def test_a_reserve_that_is_too_small_swaps_what_it_can_and_says_so(caplog):
    """The reason of the rows and a warning name what was wanted and what was possible."""
    corpus, reserve, ratings = world([("math", "easy", 9)] * 10, [("math", "hard", 9)] * 4)
    with caplog.at_level(logging.WARNING):
        mixture = mix(flip("rows"), corpus, reserve, ratings, screened())
    assert mixture.height == 10
    assert set(mixture["reason"]) == {"kept", "math easy→hard, as far as the reserve goes: 4 of 10 rows left"}
    assert "only 4 of 10 rows" in caplog.text


def test_a_control_moves_as_many_tokens_as_the_flip_it_copies():
    """Same seed, same budget; but not the same rows."""
    corpus_rows = [("math", BANDS[n % 3], 20 + n % 7) for n in range(300)]
    reserve_rows = [("math", BANDS[n % 3], 20 + n % 11) for n in range(900)]
    _, flipped, _, ratings = outcome(flip(fraction=0.7), corpus_rows, reserve_rows, screened())
    _, drawn, _, _ = outcome(control(fraction=0.7), corpus_rows, reserve_rows, screened())
    first, second = (tokens_of(frame["example_id"], ratings) for frame in (flipped, drawn))
    assert abs(first - second) <= 0.01 * first
    assert set(flipped["example_id"]) != set(drawn["example_id"])


def test_a_row_without_rating_is_named():
    """A rating table of another corpus is caught before anything is mixed."""
    corpus, reserve, ratings = world([("math", "easy", 9)] * 2, [])
    with pytest.raises(DataError, match=r"1 of 2 corpus rows have no rating, first corpus0001"):
        mix(flip(), corpus, reserve, ratings[:1], screened())


def test_a_control_without_a_size_is_refused():
    """The control of nothing is no control."""
    corpus, reserve, ratings = world([("math", "easy", 9)], [])
    with pytest.raises(RequestError, match="no rule whose size"):
        mix(
            MixParams(rule=Random(kind="random"), seed=0),
            corpus,
            reserve,
            ratings,
            screened(),
        )


def test_composition_counts_what_is_kept_and_what_came_in():
    """Every row of a mixture is counted once, with its band and tokens."""
    corpus, reserve, ratings = world(
        [("math", "easy", 9)] * 4 + [("code", None, 5)], [("math", "hard", 9)] * 2
    )
    made = mix(flip("rows"), corpus, reserve, ratings, screened())
    assert composition(made).rows() == [
        ("code", None, "kept", 1, 5),
        ("math", "easy", "kept", 2, 18),
        ("math", "hard", "swapped_in", 2, 18),
    ]


@settings(deadline=None, max_examples=20)
@given(rules, rows, rows)
def test_every_corpus_row_is_in_the_mixture_or_among_those_that_left_and_says_why(
    params, corpus_rows, reserve_rows
):
    """Rows in = kept + left, whatever the screen refused; what came and what left name each other."""
    screen = screened(("corpus0000", "corpus", "contaminated", "question"))
    coming, gone, _ = carried_out(params, corpus_rows, reserve_rows, screen=screen)
    kept = coming.filter(pl.col("origin") == "kept").height
    assert gone.schema == pl.Schema(LEFT)
    assert kept + gone.height == len(corpus_rows)
    assert gone["reason"].null_count() == 0
    pairs = gone.filter(pl.col("replaced_by").is_not_null())
    assert len(pairs) == coming["replaces"].drop_nulls().len()


def test_a_row_that_repeats_another_is_left_out_once_and_listed():
    """Two equal rows: one is trained on, the other is among those that left."""
    corpus, reserve, ratings = world([("math", "easy", 9)] * 3, [])
    params = MixParams(rule=KeepAll(kind="keep_all"), seed=0)
    pools = open_pools(pl.concat([corpus, corpus[:1]]), reserve, ratings, screened())
    coming, gone = carry_out(decide(params, pools), pools)
    assert coming["place"].to_list() == [0, 1, 2]
    assert gone.select("example_id", "reason").rows() == [("corpus0000", "repeats an earlier row")]


def test_a_budget_bounds_what_leaves_a_domain():
    """Rows or tokens, as the flip is matched by."""
    corpus_rows, reserve_rows = [("math", "easy", 10)] * 20, [("math", "hard", 10)] * 20
    for match, size in (("rows", 7), ("tokens", 70)):
        _, gone, _ = carried_out(flip(match, budget=size), corpus_rows, reserve_rows)
        assert gone.height == 7


def test_a_flip_that_holds_length_brings_in_rows_as_long_as_those_that_leave():
    """Hard rows are longer on average; among enough of them there are some that are not."""
    corpus_rows = [("math", "easy", 10 + n % 5) for n in range(40)]
    reserve_rows = [("math", "hard", 10 + n % 60) for n in range(600)]
    lengths = {}
    for hold in (None, ("length",)):
        coming, _, _ = carried_out(flip("rows", hold=hold), corpus_rows, reserve_rows)
        lengths[hold] = coming.filter(pl.col("origin") == "swapped_in")["tokens"]
    assert lengths[None].mean() > 30
    assert sorted(lengths["length",]) == sorted(tokens for _, _, tokens in corpus_rows)


def test_a_flip_that_holds_source_takes_from_the_same_collection_first():
    """Reserve rows of another collection come in only where those of the own are used up."""
    corpus, reserve, ratings = world([("math", "easy", 9)] * 6, [("math", "hard", 9)] * 20)
    reserve = reserve.with_columns(source=pl.Series(["near"] * 4 + ["far"] * 16))
    families = {"corpus": "ours", "near": "ours"}
    params = flip("rows", hold=("source",)).model_copy(update={"families": families})
    mixture = mix(params, corpus, reserve, ratings, screened())
    came = mixture.filter(pl.col("origin") == "swapped_in")["source"].value_counts().sort("source")
    assert dict(came.iter_rows()) == {"far": 2, "near": 4}
