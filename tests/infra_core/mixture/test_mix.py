"""A mixture is the corpus with a measured swap, or with none."""

import io
import logging

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.schema import CORPUS, MIXTURE, RATINGS, SCREEN
from infra_core.errors import DataError, RequestError
from infra_core.mixture import composition, mix
from infra_core.recipe import Flip, KeepAll, MixParams, RandomSwap

BANDS = ("easy", "medium", "hard", None)


def pool(name, rows):
    """Corpus rows and their ratings from (domain, band, tokens) triples."""
    ids = [f"{name}{number:04d}" for number in range(len(rows))]
    corpus = pl.DataFrame(
        [
            {
                "example_id": i,
                "domain": domain,
                "source": name,
                "raw_ref": f"f#{i}",
                "prompt": i,
                "response": i,
            }
            for i, (domain, _, _) in zip(ids, rows, strict=True)
        ],
        schema={column: CORPUS[column] for column in CORPUS},
    )
    ratings = pl.DataFrame(
        [
            {
                "example_id": i, "pool": name, "domain": domain, "source": name, "difficulty": 0.5,
                "difficulty_method": "label", "band": band, "prompt_tokens": 1, "response_tokens": tokens - 1,
            }
            for i, (domain, band, tokens) in zip(ids, rows, strict=True)
        ],
        schema=dict(RATINGS),
    )  # fmt: skip
    return corpus, ratings


def screened(*rows):
    return pl.DataFrame(
        [(i, where, verdict, matched, "x", 1.0, "equal") for i, where, verdict, matched in rows],
        schema=dict(SCREEN),
        orient="row",
    )


def world(corpus_rows, reserve_rows):
    (corpus, rated), (reserve, spare) = pool("corpus", corpus_rows), pool("reserve", reserve_rows)
    return corpus, reserve, pl.concat([rated, spare])


def tokens_of(ids, ratings):
    rated = ratings.filter(pl.col("example_id").is_in(list(ids)))
    return (rated["prompt_tokens"] + rated["response_tokens"]).sum()


def flip(match="tokens", seed=0, **fields):
    return MixParams(rule=Flip(kind="flip", match=match, **fields), seed=seed)


def control(match="tokens", seed=0, **fields):
    like = Flip(kind="flip", match=match, **fields)
    return MixParams(rule=RandomSwap(kind="random", match=match), size_of=like, seed=seed)


rows = st.lists(
    st.tuples(st.sampled_from(("math", "code")), st.sampled_from(BANDS), st.integers(2, 60)), max_size=40
)
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
    for domain in ("math", "code"):
        out, come = (frame.filter(pl.col("domain") == domain)["example_id"] for frame in (left, incoming))
        if params.rule.match == "rows":
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
    with pytest.raises(RequestError, match="no flip whose size"):
        mix(
            MixParams(rule=RandomSwap(kind="random", match="rows"), seed=0),
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
    assert composition(made, ratings).rows() == [
        ("code", None, "kept", 1, 5),
        ("math", "easy", "kept", 2, 18),
        ("math", "hard", "swapped_in", 2, 18),
    ]
