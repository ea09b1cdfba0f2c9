"""Labels to [0, 1], and bands that mean the same in every pool."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.difficulty import band_edges, band_of, label_difficulty, rate, says_nothing
from infra_core.corpus.schema import RATINGS
from infra_core.recipe import RateParams
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
    ],
)
def test_every_scale_runs_evenly_from_0_to_1(labels):
    values = [label_difficulty(label) for label in labels]
    assert values == pytest.approx([i / (len(labels) - 1) for i in range(len(labels))])


@pytest.mark.parametrize("label", [" level  3.0 ", "MEIDUM", "2 / 3"])
def test_spelling_is_forgiven(label):
    assert label_difficulty(label) == 0.5


@pytest.mark.parametrize(
    "label", ["5", "0.5", "27.0", "0/7", "8/7", "1/1", "3/0", "Level 6", "Level ?", "Brutal", ""]
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
    assert not says_nothing("Brutal")


levels = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]), min_size=1, max_size=60)


@settings(deadline=None)
@given(levels, st.sampled_from([THIRDS, (0.1, 0.2), (0.5, 1.0), (0.9, 0.95)]))
def test_bands_are_monotone_and_none_is_empty_when_three_values_exist(values, cuts):
    edges = band_edges(pl.Series(values), cuts)
    bands = [band_of(value, edges) for value in sorted(values)]
    assert [ORDER[band] for band in bands] == sorted(ORDER[band] for band in bands)
    different = len(set(values))
    assert set(bands) == [{"medium"}, {"easy", "hard"}, {"easy", "medium", "hard"}][min(different, 3) - 1]


def test_bands_of_many_values_are_thirds():
    series = pl.Series([i / 300 for i in range(300)])
    edges = band_edges(series, THIRDS)
    assert [sum(band_of(v, edges) == band for v in series) for band in ORDER] == [100, 100, 100]


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
