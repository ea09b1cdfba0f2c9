"""Labels to [0, 1], and bands that mean the same in every pool."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.difficulty import agreement, band, band_edges, rate
from infra_core.corpus.labels import label_difficulty, says_nothing
from infra_core.corpus.schema import PASS_RATES, RATINGS
from infra_core.recipe import AttemptParams, RateParams
from tests.infra_core.corpus.rows import corpus_rows

THIRDS = (1 / 3, 2 / 3)
ORDER = {"easy": 0, "medium": 1, "hard": 2}


@pytest.mark.parametrize(
    "labels",
    [
        ["Level 1", "Level 2", "Level 3", "Level 4", "Level 5"],
        ["Easy", "Meidum", "Hard"],
        ["introductory", "interview", "competition"],
        ["EASY", "MEDIUM", "MEDIUM_HARD", "HARD", "VERY_HARD"],
        [f"AIME {number}" for number in range(1, 16)],
        [f"{step}/7" for step in range(1, 8)],
        ["1.0/10", "5.5/10", "10/10"],
        ["AoPS 1", "aops 5.5", "AoPS 10"],
        ["rating 800", "Rating 2150", "rating 3500"],
        [f"{rank} kyu" for rank in range(8, 0, -1)],
        ["pass rate 1.0", "pass rate 0.5", "pass rate 0"],
        ["pass rate 100%", "pass rate 25 %", "pass rate 0%"][::2],
        ["AMC 10 #1", "AMC 12B problem 13", "2019 amc 8 #25"],
        ["2017 AIME I #1", "AIME II problem 8", "AIME 15"],
        ["Beginner", "intermediate", "Advanced"],
    ],
)
def test_every_scale_runs_evenly_from_0_to_1(labels):
    values = [label_difficulty(label) for label in labels]
    assert values == pytest.approx([i / (len(labels) - 1) for i in range(len(labels))])


@pytest.mark.parametrize("label", [" level  3.0 ", "MEIDUM", "2 / 3"])
def test_spelling_is_forgiven(label):
    assert label_difficulty(label) == 0.5


@pytest.mark.parametrize(
    "label",
    [
        "5",
        "0.5",
        "27.0",
        "0/7",
        "8/7",
        "1/1",
        "3/0",
        "Level 6",
        "Level ?",
        "Brutal",
        "",
        "rating 0",
        "pass rate 1.5",
        "pass rate n/a",
        "9 kyu",
        "-1/10",
        "AIME 16",
    ],
)
def test_what_has_no_place_on_a_known_scale_has_no_difficulty(label):
    assert label_difficulty(label) is None


@settings(deadline=None)
@given(st.none() | st.text())
def test_no_label_is_an_error(label):
    value = label_difficulty(label)
    assert value is None or 0 <= value <= 1


def test_ways_of_saying_unknown_are_not_unknown_labels():
    assert all(says_nothing(label) for label in (None, "n/a", " Level ? ", "NaN", "UNKNOWN_DIFFICULTY"))
    assert all(says_nothing(label) for label in ("None/10", "pass rate n/a", "rating nan", "not rated"))
    assert not any(says_nothing(label) for label in ("Brutal", "11/10", "rating 0"))


def bands_of(values, edges):
    low, high = map(pl.lit, edges)
    return pl.DataFrame({"d": values}).select(band(pl.col("d"), low, high)).to_series().to_list()


levels = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]), min_size=1, max_size=60)


@settings(deadline=None)
@given(levels, st.sampled_from([THIRDS, (0.1, 0.2), (0.5, 1.0), (0.9, 0.95)]))
def test_bands_are_monotone_and_none_is_empty_when_three_values_exist(values, cuts):
    edges = band_edges(pl.Series(values), cuts)
    bands = bands_of(sorted(values), edges)
    assert [ORDER[band] for band in bands] == sorted(ORDER[band] for band in bands)
    different = len(set(values))
    assert set(bands) == [{"medium"}, {"easy", "hard"}, {"easy", "medium", "hard"}][min(different, 3) - 1]


def test_bands_of_many_values_are_thirds():
    series = pl.Series([i / 300 for i in range(300)])
    edges = band_edges(series, THIRDS)
    assert [bands_of(series, edges).count(name) for name in ORDER] == [100, 100, 100]


def lengths(frame):
    return [(len(prompt), len(response)) for prompt, response in frame.select("prompt", "response").rows()]


def test_the_corpus_decides_what_hard_means_for_all_pools():
    """By its own quantiles the reserve would have an easy band; by the corpus's all of it is hard."""
    corpus = corpus_rows(*({"difficulty": i / 10} for i in range(6)))
    reserve = corpus_rows(*({"difficulty": 0.7 + i / 10, "prompt": f"r{i}"} for i in range(3)))
    questions = corpus_rows(
        {"difficulty": 0.1, "response": ""}, {"difficulty": None}, {"domain": "code", "difficulty": 0.5}
    )
    rated = rate(corpus, reserve, questions, RateParams(), lengths)
    assert rated.schema == RATINGS
    assert rated.filter(pool="corpus")["band"].to_list() == ["easy"] * 2 + ["medium"] * 2 + ["hard"] * 2
    assert rated.filter(pool="reserve")["band"].to_list() == ["hard"] * 3
    assert rated.filter(pool="benchmark")["band"].to_list() == ["easy", None, None]
    assert rated.filter(pool="benchmark")["response_tokens"].to_list() == [0, 1, 1]


def test_bands_are_cut_within_a_domain():
    rows = [
        {"domain": d, "difficulty": base + i / 100}
        for d, base in (("math", 0.0), ("code", 0.5))
        for i in range(3)
    ]
    rated = rate(corpus_rows(*rows), corpus_rows(), corpus_rows(), RateParams(), lengths)
    assert rated["band"].to_list() == ["easy", "medium", "hard"] * 2


def test_rows_of_equal_content_are_rated_once_a_pool():
    twice = corpus_rows({"prompt": "p"}, {"prompt": "p"})
    rated = rate(twice, twice, corpus_rows(), RateParams(), lengths)
    assert rated.select("pool", "example_id").is_unique().all()
    assert len(rated) == 2


def test_a_domain_without_any_label_may_be_rated_by_response_length():
    """By the corpus's own lengths, in every pool; a question without a reference has none to go by."""
    texts = ("x" * length for length in (1, 2, 3, 4))
    corpus = corpus_rows(*({"response": text} for text in texts), {"domain": "code", "difficulty": 0.5})
    reserve = corpus_rows({"response": "y" * 9})
    questions = corpus_rows({"response": "zz"}, {"response": ""})
    rated = rate(corpus, reserve, questions, RateParams(unlabelled="response_length"), lengths)
    maths = rated.filter(domain="math")
    assert maths["difficulty"].to_list() == [0.0, 0.25, 0.5, 0.75, 1.0, 0.25, None]
    assert set(maths["difficulty_method"]) == {"response_length"}
    assert rated.filter(domain="code")["difficulty_method"].to_list() == ["label"]


def test_without_that_choice_a_domain_without_labels_has_no_bands():
    rated = rate(corpus_rows({}, {}), corpus_rows(), corpus_rows(), RateParams(), lengths)
    assert rated["band"].to_list() == [None, None]


def passes(*rates, pool="corpus"):
    """Pass rates of the rows r0, r1, …; None was not tried."""
    tried = [(f"r{n}", rate, 8) for n, rate in enumerate(rates) if rate is not None]
    return {pool: pl.DataFrame(tried, schema=pl.Schema(PASS_RATES), orient="row")}


def named(*rows):
    return corpus_rows(*rows).with_columns(example_id=pl.Series([f"r{n}" for n in range(len(rows))]))


def test_by_pass_rate_the_problem_that_is_solved_least_is_the_hardest():
    """Labels count for nothing then: a row that was not tried has no difficulty, whatever its label."""
    corpus = named(*({"difficulty": 0.5, "prompt": f"p{n}"} for n in range(4)))
    params = RateParams(method="pass_rate")
    rated = rate(corpus, corpus.clear(), corpus.clear(), params, lengths, passes(1.0, 0.25, 0.75, None))
    assert rated["difficulty"].to_list() == [0.0, 0.75, 0.25, None]
    assert rated["band"].to_list() == ["easy", "hard", "medium", None]
    assert rated["difficulty_method"].to_list() == ["pass_rate"] * 3 + [None]


def test_pass_rates_fill_in_for_domains_without_labels_alone():
    """A label and a pass rate of one domain would be two scales under one band."""
    corpus = named({"domain": "code", "prompt": "a"}, {"difficulty": 0.5, "prompt": "b"}, {"prompt": "c"})
    params = RateParams(unlabelled="pass_rate")
    rated = rate(corpus, corpus.clear(), corpus.clear(), params, lengths, passes(0.25, 0.0, 0.0))
    assert rated["difficulty"].to_list() == [0.75, 0.5, None]
    assert rated["difficulty_method"].to_list() == ["pass_rate", "label", None]


def test_agreement_is_the_rank_correlation_of_label_and_failure():
    """Perfect, perfectly wrong, and none where all are alike; rows without a label do not count."""
    easy_to_hard = [0.0, 0.25, 0.5, 1.0]
    corpus = named(*({"difficulty": d, "prompt": f"p{n}"} for n, d in enumerate([*easy_to_hard, None])))
    for rates, expected in (((0.9, 0.5, 0.3, 0.0, 0.7), 1.0), ((0.0, 0.3, 0.5, 0.9, 0.0), -1.0)):
        row = agreement(corpus, passes(*rates)["corpus"], seed=0).row(0, named=True)
        assert row["spearman"] == pytest.approx(expected)
        assert row["low"] <= row["spearman"] <= row["high"]
        assert (row["domain"], row["n_examples"], row["n_problems"]) == ("math", 4, 4)
    assert agreement(corpus, passes(0.5, 0.5, 0.5, 0.5)["corpus"], seed=0)["spearman"].to_list() == [None]


def test_responses_to_one_problem_are_one_fact_for_agreement():
    """Forty rows of two problems: the interval is as wide as for two."""
    rows = [{"difficulty": n % 2 * 1.0, "prompt": f"p{n}", "group": f"g{n % 2}"} for n in range(40)]
    noise = [0.4 + 0.2 * (n * 7 % 5) / 4 + 0.1 * (n % 2) for n in range(40)]
    found = agreement(named(*rows), passes(*noise)["corpus"], seed=0).row(0, named=True)
    alone = agreement(named(*({**row, "group": None} for row in rows)), passes(*noise)["corpus"], seed=0)
    assert (found["n_problems"], alone["n_problems"].item()) == (2, 40)


def test_a_word_is_a_method_and_attempts_must_be_asked_for():
    assert RateParams.model_validate("pass_rate").tried == AttemptParams()
    assert RateParams().tried is None
    with pytest.raises(ValueError, match="attempts are for"):
        RateParams.model_validate({"attempts": {"draws": 2}})
