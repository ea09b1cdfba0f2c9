"""Near-duplicates: what MinHash proposes and the words decide, against datasketch and on planted edits."""

from itertools import combinations
from random import Random

import polars as pl
import pytest
from datasketch import MinHash

from benchmarks.corpus_rows import problem, vocabulary
from benchmarks.planted import EDITS, HELD
from infra_core.corpus.near import problems, signatures
from infra_core.corpus.schema import SIGNATURES
from infra_core.corpus.words import problem_table
from tests.infra_core.corpus.rows import corpus_rows


def numbers(prompts, similarity=0.7, answers=None):
    """The number of the problem of each prompt."""
    rows = corpus_rows(
        *(
            {"prompt": prompt, "response": str(n), "answer": answers[n] if answers else None}
            for n, prompt in enumerate(prompts)
        )
    )
    table = signatures(rows, problem_table(rows["prompt"]))
    assert table.schema == SIGNATURES
    texts = rows.select("example_id", "prompt")
    found = problems(table, lambda ids: texts.filter(pl.col("example_id").is_in(ids)), similarity)
    return found["problem"].to_list()


def same(one, other, **how):
    first, second = numbers([one, other], **how)
    return first == second


def varied(count):
    """Problems, each with a neighbour that has ever more words beside."""
    random = Random(0)  # noqa: S311
    prompts = []
    for number in range(count):
        words = problem(random, length=60).split(" ")
        prompts.append(" ".join(words))
        for _ in range(number % 12):
            words.insert(random.randrange(len(words) // 2), random.choice(vocabulary()))
        prompts.append(" ".join(words))
    return prompts


def estimates(prompts):
    """datasketch's estimate of the Jaccard similarity of every pair, over the same five-word shapes."""
    sketches = []
    for prompt in prompts:
        shapes = [
            "0" if word.isdigit() else word
            for word in problem_table(pl.Series([prompt]))["token"]
            if word.isalnum()
        ]
        sketch = MinHash(num_perm=256, seed=3)
        for shingle in zip(*(shapes[start:] for start in range(5)), strict=False):
            sketch.update(" ".join(shingle).encode())
        sketches.append(sketch)
    return {(i, j): sketches[i].jaccard(sketches[j]) for i, j in combinations(range(len(prompts)), 2)}


def test_no_pair_that_datasketch_finds_far_apart_is_one_problem():
    prompts = varied(40)
    found = numbers(prompts)
    joined = {(i, j): estimate for (i, j), estimate in estimates(prompts).items() if found[i] == found[j]}
    assert len(joined) >= 5
    assert min(joined.values()) > 0.7 - 0.12, "0.7, less four standard errors of 256 permutations"


def test_no_pair_that_datasketch_finds_all_but_equal_is_missed():
    """One replaced word of sixty is another problem by its words; none is the same, whatever the spelling."""
    random = Random(1)  # noqa: S311
    originals = [problem(random, length=60) for _ in range(30)]
    copies = [EDITS["latex_spacing"](text, random, ()) for text in originals]
    prompts = originals + copies
    close = {pair for pair, estimate in estimates(prompts).items() if estimate > 0.95}
    assert len(close) == 30
    found = numbers(prompts)
    assert all(found[i] == found[j] for i, j in close)


@pytest.mark.parametrize("edit", [*HELD, "labelled", "instructed"])
def test_planted_copies_are_found_and_nothing_else(edit):
    """Recall and precision from 0.98 on; measured: 1. A renumbered problem is the same if its answer is."""
    random = Random(edit)  # noqa: S311
    originals = [problem(random) for _ in range(150)]
    copies = [EDITS[edit](text, random, vocabulary()) for text in originals]
    others = [problem(random) for _ in range(150)]
    answers = [str(number) for number in range(150)]
    found = numbers(
        [*originals, *others, *copies], answers=[*answers, *(f"x{n}" for n in range(150)), *answers]
    )
    places = [(n, place) for place in range(300, 450) for n in range(300)]
    pairs = [(n, place - 300) for n, place in places if found[n] == found[place]]
    right = sum(n == copied for n, copied in pairs)
    assert right >= 0.98 * 150
    assert right >= 0.98 * len(pairs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find the largest {} for all of that.", "Find the smallest {} for all of that."),
        ("Reach 14 from {} here.", "Reach 15 from {} here."),
        ("Compute 3 + x and {} again.", "Compute 3 * x and {} again."),
    ],
)
def test_a_word_a_number_or_a_sign_makes_another_problem(one, other):
    text = " ".join(vocabulary()[:30])
    assert not same(one.format(text), other.format(text))


def test_equal_answers_outweigh_a_label_in_a_long_text_and_not_in_a_short_one():
    text = " ".join(vocabulary()[:30])
    assert same(f"Line 3 of {text}", f"Line 4 of {text}", answers=["7", "7"])
    assert not same(f"Line 3 of {text}", f"Line 4 of {text}", answers=["7", "8"])
    assert not same(
        "Add 3 to it now please all of you", "Add 4 to it now please all of you", answers=["7", "7"]
    )


def test_without_a_similarity_only_equal_prompts_are_one_problem():
    text = " ".join(vocabulary()[:30])
    assert same(f"{text}  x", f"{text}\u00a0x", similarity=None)
    assert not same(f"{text} x", f"{text} y", similarity=None)
    assert same(f"{text} x", f"{text} y")


def test_a_template_with_many_numbers_costs_no_pair():
    """Thousands of problems of one wording: none is compared with every other."""
    text = " ".join(vocabulary()[:20])
    found = numbers([f"{text} {number}" for number in range(3000)])
    assert len(set(found)) == 3000


def test_prompts_without_words_are_problems_of_their_own():
    assert len(set(numbers(["", "!?", "84-73=?", "84-73=", "\u6c42\u548c"]))) >= 4
