"""Duplicates and overlap: what must be found, and what must not."""

from itertools import product

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.near import signatures
from infra_core.corpus.overlap import QuestionIndex
from infra_core.corpus.schema import SCREEN
from infra_core.corpus.screen import refused, screen
from infra_core.corpus.words import problem_table
from infra_core.recipe import ScreenParams
from infra_core.sources.made import made_rows
from tests.infra_core.corpus.rows import corpus_rows

WORDS = ["".join(letters) for letters in product("bdfgk", "aeiou", "lmnpr", "aeiou")]
LONG = " ".join(WORDS[:60])


def looked(corpus=(), reserve=(), benchmarks=(), **params):
    pools = [
        corpus_rows(*({"prompt": row} if isinstance(row, str) else row for row in rows))
        for rows in (corpus, reserve, benchmarks)
    ]
    return screened(*pools, ScreenParams(**params))


def screened(corpus, reserve, questions, params):
    """As the stage does it, with every pool one part."""
    pools = {"corpus": corpus, "reserve": reserve}
    index = QuestionIndex(questions, params)
    asked = {pool: problem_table(rows["prompt"]) for pool, rows in pools.items()}
    texts = pl.concat(pools.values()).select("example_id", "prompt")
    return screen(
        {pool: signatures(rows, asked[pool]) for pool, rows in pools.items()},
        {pool: index.overlaps(rows, problem_table(rows["prompt"])) for pool, rows in pools.items()}
        if params.decontaminate
        else {},
        lambda ids: texts.filter(pl.col("example_id").is_in(ids)),
        params,
    )


def verdicts(**pools):
    return looked(**pools).select("pool", "verdict").rows()


def test_the_table_has_its_schema_even_when_all_is_well():
    assert looked(["a"], ["b"], ["c"]).schema == SCREEN
    assert len(looked(["a"], ["b"], ["c"])) == 0


def test_a_repeated_row_is_listed_against_the_first():
    found = looked([{"prompt": "p", "response": "a  b"}, {"prompt": "p\xa0", "response": "a\nb"}])
    first = corpus_rows({"prompt": "p", "response": "a  b"})["example_id"][0]
    assert found.select("verdict", "matched", "containment").rows() == [("duplicate", first, 1.0)]


def test_several_responses_to_one_problem_are_wanted():
    assert verdicts(corpus=[{"prompt": "p", "response": "a"}, {"prompt": "p", "response": "b"}]) == []


def test_signs_and_case_tell_problems_apart():
    prompts = ["3 + 4", "3 - 4", "x²", "x2", "reverse 'aB'", "reverse 'Ab'", "求和", "求积"]
    assert verdicts(corpus=prompts) == []


def test_a_reserve_row_that_repeats_a_corpus_prompt_is_listed_and_the_corpus_row_stays():
    found = looked([{"prompt": "p", "response": "a"}], [{"prompt": "p", "response": "b"}])
    assert found.select("pool", "verdict").rows() == [("reserve", "duplicate")]


def test_the_same_row_in_both_pools_leaves_the_reserve():
    row = {"prompt": "p", "response": "a"}
    assert verdicts(corpus=[row], reserve=[row]) == [("reserve", "duplicate")]


def test_among_equals_the_earlier_line_stays_whatever_the_order_of_parts():
    rows = corpus_rows(
        {"prompt": "p ", "raw_ref": "a.jsonl#10"}, {"prompt": "p", "raw_ref": "a.jsonl#9"}, {"prompt": "q"}
    )
    (listed,) = screened(rows, rows.clear(), rows.clear(), ScreenParams())["example_id"]
    assert listed == rows["example_id"][0]


def test_a_leaked_question_is_dropped_and_names_its_benchmark():
    found = looked([f"Please answer carefully now. {LONG}"], [], [{"prompt": LONG, "source": "exam"}])
    assert found.select("verdict", "matched_source", "containment").rows() == [("contaminated", "exam", 1.0)]


@pytest.mark.parametrize(
    ("shared", "cut", "more", "verdict"),
    [
        (14, 60, 46, []),  # 5 of 51 10-grams
        (17, 60, 43, ["suspect"]),  # 8 of 51
        (40, 60, 20, ["suspect"]),  # 31 of 51, but a third of its words are others: a sibling
        (25, 25, 0, ["contaminated"]),  # cut short
        (60, 60, 90, ["contaminated"]),  # inside a longer one
        (57, 60, 3, ["contaminated"]),  # a word or three differ
    ],
)
def test_the_share_of_common_text_decides(shared, cut, more, verdict):
    prompt = " ".join(WORDS[:shared] + WORDS[100 : 100 + more])
    assert looked([prompt], [], [LONG])["verdict"].to_list() == verdict


def test_a_short_question_is_dropped_only_if_it_is_the_same():
    question = "Start with 14. Add 7. Double."
    near = ["Start with 14. Add 7. Halve.", "Start with 14. Add 8. Double.", "Start with 14, add 7, double"]
    found = looked([question, *near], [], [question])
    assert found["verdict"].to_list() == ["contaminated"] * 2, "the last one differs by punctuation alone"


def test_operators_keep_short_questions_apart():
    assert verdicts(corpus=["What is 30 - 4?"], benchmarks=["What is 30 + 4?"]) == []


def test_a_template_of_middling_length_is_suspect_at_most():
    """13 tokens have four 10-grams; a shared start of 12 is .75 of them, and yet another problem."""
    start = "Start with 14. Add 7. Double. Subtract 3. Halve. Add 5."
    assert verdicts(corpus=[f"{start} Triple."], benchmarks=[f"{start} Negate."]) == [("corpus", "suspect")]


def test_the_same_words_about_other_numbers_are_a_copy_unless_they_are_a_template():
    story = "{} {} {}".format(" ".join(WORDS[:30]), "{}", " ".join(WORDS[30:60]))
    assert verdicts(corpus=[story.format(7)], benchmarks=[story.format(8)]) == [("corpus", "contaminated")]
    assert verdicts(corpus=[story.format("7 8")], benchmarks=[story.format(8)]) == [
        ("corpus", "contaminated")
    ]
    assert verdicts(corpus=[story.format(7)], benchmarks=[story.format(n) for n in range(8, 12)]) == []


@pytest.mark.parametrize("procedure", ["list_programs", "gsm_symbolic", "tiny_math", "tiny_code"])
def test_different_problems_of_one_procedure_are_not_contaminated(procedure):
    """Made problems share all their wording. No two splits share a problem, but for numbers and names."""

    def problems(split, count):
        return [row["problem"] for row in made_rows(f"made://{procedure}?rows={count}&seed=0&split={split}")]

    questions = problems("exam", 24)
    corpus = problems("train", 150)
    found = looked(corpus, [], questions)
    contaminated = found.filter(verdict="contaminated")
    assert len(contaminated) <= 5, (
        "measured: five of gsm_symbolic, three the same but for numbers, two but for names as well"
    )
    leaked = looked([*corpus, questions[5]], [], questions)
    assert len(leaked.filter(verdict="contaminated")) == len(contaminated) + 1


def test_a_word_for_word_leak_is_refused_although_it_matches_its_own_id():
    """Same domain, prompt and response: the corpus row and the question have one example_id."""
    row = {"prompt": "3 + 4", "response": "7"}
    found = looked([row], [row], [row])
    assert found["matched"].to_list() == found["example_id"].to_list()
    assert len(refused(found, "corpus")) == len(refused(found, "reserve")) == 1


def test_suspect_rows_are_not_refused():
    found = looked([f"{' '.join(WORDS[:20])} {' '.join(WORDS[100:140])}"], [], [LONG])
    assert found["verdict"].to_list() == ["suspect"]
    assert refused(found, "corpus").is_empty()


def test_boilerplate_of_a_benchmark_does_not_contaminate():
    """A preamble as long as the problem would be .5 of every prompt of the same template."""
    preamble = " ".join(WORDS[200:230])
    questions = [f"{preamble} {' '.join(WORDS[10 * i : 10 * i + 10])}" for i in range(5)]
    other = f"{preamble} {' '.join(WORDS[300:310])}"
    assert verdicts(corpus=[other], benchmarks=questions) == []
    assert verdicts(corpus=[other, questions[3]], benchmarks=questions) == [("corpus", "contaminated")]


def test_a_question_asked_three_times_is_not_its_own_boilerplate():
    questions = [{"prompt": LONG, "response": str(i)} for i in range(3)]
    assert verdicts(corpus=[f"Now. {LONG}"], benchmarks=questions) == [("corpus", "contaminated")]


def test_prompts_without_a_latin_letter_do_not_all_match_each_other():
    assert verdicts(corpus=["求和", "!!!", "?"], benchmarks=["求积", "??", "."]) == []


def test_contaminated_goes_before_duplicate():
    rows = [{"prompt": LONG}, {"prompt": f" {LONG}"}]
    assert verdicts(corpus=rows, benchmarks=[LONG]) == [("corpus", "contaminated")] * 2


def test_each_look_can_be_left_out():
    rows = [{"prompt": LONG}, {"prompt": f" {LONG}"}]
    assert looked(rows, [], [LONG], decontaminate=False)["verdict"].to_list() == ["duplicate"]
    assert looked(rows, [], [LONG], deduplicate=False)["verdict"].to_list() == ["contaminated"] * 2
    assert len(looked(rows, [], [LONG], deduplicate=False, decontaminate=False)) == 0


prompts = st.lists(
    st.sampled_from(["a", "a ", "b", LONG, f"x {LONG}", " ".join(WORDS[:25]), "3 + 4"]), max_size=6
)


@pytest.mark.slow
@settings(deadline=None)
@given(prompts, prompts, prompts, st.randoms(use_true_random=False))
def test_the_verdicts_do_not_depend_on_the_order_of_rows(corpus, reserve, questions, shuffle):
    pools = [corpus_rows(*({"prompt": prompt} for prompt in rows)) for rows in (corpus, reserve, questions)]
    found = screened(*pools, ScreenParams())
    assert found.select("pool", "example_id").is_unique().all()
    mixed = [
        pool.sample(fraction=1, shuffle=True, seed=shuffle.randrange(99)) if len(pool) else pool
        for pool in pools
    ]
    again = screened(*mixed, ScreenParams())
    key = ["pool", "example_id", "verdict"]
    # Which of two rows of one content is read first may differ; what is listed may not.
    assert found.select(key).sort(key).equals(again.select(key).sort(key))
