"""Every printed number is in numbers.json, the sentence is the statistics', and foreign text stays text."""

import itertools
import json
import re

import numpy as np
import polars as pl
import pytest

from infra_core.attributes.cells import cells
from infra_core.attributes.steps import STEPS
from infra_core.attributes.strata import STRATUM_MEANS
from infra_core.attributes.tokens import AGREEMENT, TOKENS
from infra_core.attributes.top_words import TOP_WORDS
from infra_core.attributes.variations import VARIED
from infra_core.corpus.schema import (
    ANSWERS,
    CORPUS,
    DROPPED,
    LIKELIHOODS,
    QUERY,
    RATINGS,
    SCREEN,
)
from infra_core.errors import DataError
from infra_core.evaluation.statistics import holm
from infra_core.mixture import carry_out, decide, mix, open_pools
from infra_core.recipe import KeepAll, MixParams, Recipe
from infra_core.report import ReportInputs, build

BANDS = ("easy", "medium", "hard")
TRAIN = {"learning_rate": 1e-3, "epochs": 1, "batch_tokens": 512, "max_tokens": 128}


def recipe(seeds=2, objective="own_correct", draws=1):
    """A recipe with one task a domain, a flip and its control."""
    return Recipe.model_validate({
        "name": "small",
        "seed": 3,
        "note": "Rows were made up <b>here</b>.",
        "base": {"model": {"kind": "pretrained", "model": "./folder"}},
        "corpus": {
            "sources": [
                {"name": "ours", "domain": "math", "uri": "x"},
                {"name": "code", "domain": "code", "uri": "y"},
            ],
            "reserve": [{"name": "spare", "domain": "math", "uri": "z"}],
        },
        "benchmarks": {
            task: {"domain": domain, "uri": "q", "judge": "exact"}
            for task, domain in (("sums", "math"), ("programs", "code"))
        },
        "train": TRAIN | {"seeds": seeds},
        "queries": {"tasks": ["sums"], "objective": objective},
        "query_share": 0.5,
        "scores": {"token_rule": "position"},
        "mixtures": {kind: {"kind": kind, "match": "tokens"} for kind in ("flip", "random")},
        "evaluate": {"tasks": ["sums", "programs"], "draws": draws, "pass_at": [2] if draws > 1 else []},
    })  # fmt: skip


def corpora():
    """A corpus, a reserve and ratings of both and of the questions."""
    frames, ratings = {}, []
    for pool, size in (("corpus", 90), ("reserve", 240), ("benchmark", 80)):
        rows = []
        for number in range(size):
            domain = "math" if number % 2 else "code"
            source = {"corpus": {"math": "ours", "code": "code"}[domain], "reserve": "spare"}.get(
                pool, {"math": "sums", "code": "programs"}[domain]
            )
            name = f"{pool}{number:03d}"
            rows.append({
                "example_id": name,
                "domain": domain,
                "source": source,
                "prompt": name,
                "response": name,
            })
            band = None if number < 4 else BANDS[number % 3]
            ratings.append((name, pool, domain, source, 0.5, "label", band, 10, 20 + number % 7))
        frames[pool] = pl.DataFrame(rows, schema=pl.Schema(CORPUS))
    return frames["corpus"], frames["reserve"], pl.DataFrame(ratings, schema=pl.Schema(RATINGS), orient="row")


def exam(arm, seed, lift, draws):
    """Answers and likelihoods of one trained model to 40 questions a task."""
    random = np.random.default_rng([len(arm), seed])
    easiness = np.random.default_rng(0).random(80)
    answers, likelihoods = [], []
    for number in range(80):
        task, domain = ("sums", "math") if number % 2 else ("programs", "code")
        name = f"benchmark{number:03d}"
        for draw in range(draws):
            right = bool(random.random() < easiness[number] * 0.5 + lift)
            told = {"correct": right, "truncated": not right, "response_tokens": 12, "draw": draw}
            answers.append({
                "task": task, "task_version": "1", "question_id": name, "domain": domain, **told,
            })  # fmt: skip
        likelihoods.append((task, name, domain, 0.5, 20 - 5 * lift + random.random(), 15))
    return (
        pl.DataFrame(answers, schema=pl.Schema(ANSWERS)),
        pl.DataFrame(likelihoods, schema=pl.Schema(LIKELIHOODS), orient="row"),
    )


def attributes():
    """Tables of tokens, of fifths and of variations, small enough to be read."""
    group, rows = "math/correct", {}
    rows["tokens"] = [
        (group, "math", "connector", 50, 9, 60, 0.3, 0.011, 0.002, 0.021, -0.003, -0.012, -0.001),
        (group, "math", "operator", 90, 9, 140, 0.7, 0.02, 0.01, 0.03, 0.01, 0.004, 0.02),
        (group, "code", "keyword", 5, 1, 7, 1.0, 0.5, None, None, 0.0, None, None),
    ]
    rows["other_tokens"] = [
        (group, "math", "connector", 50, 9, 60, 0.3, 0.01, 0.004, 0.02, 0.0, -0.01, 0.01),
        (group, "math", "operator", 90, 9, 140, 0.7, -0.04, -0.06, -0.02, 0.0, -0.01, 0.01),
        (group, "code", "keyword", 5, 1, 7, 1.0, 0.4, None, None, 0.0, None, None),
    ]
    rows["agreement_of_rules"] = [
        (group, "math", 0.43, 0.35, 0.51, 40, 9),
        (group, "code", 0.7, None, None, 1, 1),
    ]
    rows["words"] = [
        (group, "math", "connector", "so", 30, 8, 0.09, 0.06, 0.02, 0.1),
        (group, "math", "syntax", "\n  ", 20, 8, -0.05, -0.03, -0.05, -0.01),
        (group, "math", "other", "<b onclick=alert(1)>", 6, 2, -0.3, -0.1, -0.2, 0.05),
    ]
    rows["strata"] = [
        (group, "math", attribute, fifth + 1, least, most, 9, 9, 0.1 * fifth, 0.1 * fifth - 0.15, 0.8,
         0.01 * fifth, 0.01 * fifth - 0.02, 0.09)
        for attribute, ranges in (
            ("perplexity", ((1.25, 1.5), (1.5, 2.25))),
            ("response length", ((12.0, 20.0), (21.0, 45.0))),
        )
        for fifth, (least, most) in enumerate(ranges)
    ]  # fmt: skip
    rows["variations"] = [
        (attribute, group, "math", label, variation, value, value - 0.05, value + 0.05, 9, value < 0)
        for attribute, label in (("band", "easy"), ("behaviour", "plan"), ("token_class", "operator"))
        for variation, value in (("own", 0.25), ("modules all", 0.3), ("unit norm", -0.2))
    ]
    schemas = {
        "tokens": TOKENS, "other_tokens": TOKENS, "agreement_of_rules": AGREEMENT, "words": TOP_WORDS,
        "strata": STRATUM_MEANS, "variations": VARIED,
    }  # fmt: skip
    return {
        name: pl.DataFrame(table, schema=pl.Schema(schemas[name]), orient="row")
        for name, table in rows.items()
    }


def inputs(
    seeds=2,
    objective="own_correct",
    query_questions=("elsewhere",),
    reason="no response: it was <i>|</i>",
    draws=1,
    lift=0.45,
):
    """A whole run, made up but shaped like one."""
    given = recipe(seeds, objective, draws)
    corpus, reserve, ratings = corpora()
    screen = pl.DataFrame(
        [("corpus000", "corpus", "duplicate", "corpus002", "ours", 1.0, "equal"),
         ("reserve001", "reserve", "contaminated", "benchmark001", "sums", 0.5, "n-grams")],
        schema=pl.Schema(SCREEN), orient="row",
    )  # fmt: skip
    flip = given.mixtures["flip"]
    rules = {
        "keep_all": (KeepAll(kind="keep_all"), None),
        "flip": (flip, None),
        "random": (given.mixtures["random"], flip),
    }
    params = {arm: MixParams(rule=rule, like=like, seed=1) for arm, (rule, like) in rules.items()}
    mixtures = {arm: mix(given, corpus, reserve, ratings, screen) for arm, given in params.items()}
    pools = open_pools(corpus, reserve, ratings, screen)
    exams = {"base": [exam("base", 0, 0.0, draws)]}
    exams |= {
        arm: [exam(arm, s, more, draws) for s in range(seeds)]
        for arm, more in (("keep_all", 0.0), ("flip", lift), ("random", 0.02))
    }
    scores = pl.DataFrame(
        [
            (name, group, float(number % 5 - 1))
            for group in ("math/correct", "code/correct")
            for number, name in enumerate(corpus["example_id"])
        ],
        schema={"example_id": pl.String(), "group": pl.String(), "influence": pl.Float32()},
        orient="row",
    )
    queries = pl.DataFrame(
        [
            (f"q{number}", name, "sums", "math/correct", "p", "r", True, "ok", 0, objective)
            for number, name in enumerate(query_questions)
        ],
        schema=pl.Schema(QUERY),
        orient="row",
    )
    steps = pl.DataFrame(
        [
            ("math/correct", "math", "plan", 12, 9, 100, 0.25, 0.011, 0.002, 0.021, -0.003, -0.012, 0.004),
            (
                "math/correct",
                "math",
                "verification",
                30,
                20,
                300,
                0.75,
                0.03,
                0.01,
                0.05,
                -0.02,
                -0.03,
                -0.01,
            ),
            ("math/correct", "code", "loop", 1, 1, 7, 1.0, 0.5, None, None, 0.0, None, None),
        ],
        schema=STEPS,
        orient="row",
    )
    return ReportInputs(
        **attributes(),
        recipe=given,
        answers={arm: [answers for answers, _ in runs] for arm, runs in exams.items()},
        likelihoods={arm: [likelihoods for _, likelihoods in runs] for arm, runs in exams.items()},
        mixtures=mixtures,
        cells=cells(scores, ratings, seed=0, resamples=50),
        ratings=ratings,
        screen=screen,
        queries=queries,
        dropped=pl.DataFrame([("ours", "f#3", reason, "{}")], schema=pl.Schema(DROPPED), orient="row"),
        versions={"torch": "2.13.0"},
        steps=steps,
        left={arm: carry_out(decide(given, pools), pools)[1] for arm, given in params.items()},
    )


@pytest.fixture(scope="module")
def report():
    """The report of a run with two training seeds."""
    return build(inputs())


@pytest.fixture(scope="module")
def drawn():
    """The same with four draws a question."""
    return build(inputs(draws=4))


NUMBER = re.compile(r"[+−-]?\d[\d,]*(?:\.\d+)?(?:e[+−-]?\d+)?")


def printed_numbers(text):
    """Every number a reader sees: not names and versions in code, nor the recipe's note."""
    prose = [line for line in text.splitlines() if not line.startswith((">", "## ", "# "))]
    bare = re.sub(r"&#?\w+;", " ", re.sub(r"`[^`]*`", " ", "\n".join(prose)))
    return {number.rstrip(",") for number in NUMBER.findall(bare)}


def ways_to_print(value):
    """A number of numbers.json as the text may show it: plain, as a percentage, signed, to some digits."""
    for number in {value, 100 * value}:
        digits = (".0f", ".1f", ".2f", ".3f", ".3g")
        for text in (f"{number:,}", *(format(number, form) for form in digits)):
            bare = text.replace("-", "−")
            yield from (bare, f"+{bare}")


def values(tree):
    """All numbers in a JSON object."""
    if isinstance(tree, dict):
        yield from itertools.chain.from_iterable(map(values, tree.values()))
    elif isinstance(tree, list):
        yield from itertools.chain.from_iterable(map(values, tree))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield tree


@pytest.mark.parametrize("kind", ["report", "drawn"])
def test_every_printed_number_is_in_numbers_json(kind, request):
    """Read the page back: nothing is printed that a program could not look up."""
    text, numbers = request.getfixturevalue(kind)
    known = {shown for value in values(numbers) for shown in ways_to_print(value)}
    assert len(printed_numbers(text)) > 100
    assert printed_numbers(text) - known == set()


def test_every_figure_says_what_it_is_and_is_named_once(report):
    """The keys that programs rely on; and the whole is JSON."""
    _, numbers = report
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    names = [figure["id"] for figure in numbers["figures"]]
    assert len(names) == len(set(names))
    for figure in numbers["figures"]:
        assert {"id", "metric", "unit", "value", "low", "high", "n", "seeds"} <= set(figure)
        if figure["low"] is not None:
            assert figure["low"] <= figure["value"] <= figure["high"]
    accuracy = [figure for figure in numbers["figures"] if figure["metric"] == "accuracy"]
    assert {figure["arm"] for figure in accuracy} == {"base", "keep_all", "flip", "random"}
    assert {figure["task"] for figure in accuracy} == {"sums", "programs"}
    assert all(0 <= figure["value"] <= 1 for figure in accuracy)


def test_the_first_screen_decides_against_the_corpus_and_against_the_control(report):
    """A clear lift is called better, a tiny one is not; and each says what could have been seen."""
    text, numbers = report
    verdicts = {
        (found["arm"], found["against"], found["task"], found["metric"]): found["verdict"]
        for found in numbers["comparisons"]
    }
    assert verdicts["flip", "keep_all", "sums", "accuracy"] == "better"
    assert verdicts["flip", "keep_all", "sums", "nll_per_token"] == "better"
    assert verdicts["flip", "random", "sums", "accuracy"] == "better"
    assert verdicts["random", "keep_all", "programs", "accuracy"] == "cannot tell"
    screen = "\n".join(text.splitlines()[:20])
    assert "`flip` against `keep_all` on `sums`: **better**, +" in screen
    assert "points or more would be seen." in screen


def test_verdicts_are_those_of_the_corrected_p_within_a_family_of_accuracies_and_one_of_likelihoods(report):
    """Six comparisons of each kind; every one carries p, corrected p, its own interval and the verdict."""
    _, numbers = report
    for metric, count in numbers["power"]["comparisons"].items():
        family = [found for found in numbers["comparisons"] if found["metric"] == metric]
        assert len(family) == count == 6
        assert [found["p_holm"] for found in family] == pytest.approx(holm([found["p"] for found in family]))
        for found in family:
            assert (found["verdict"] == "cannot tell") == (found["p_holm"] > 0.05)
            assert (found["verdict_alone"] == "cannot tell") == (found["low"] <= 0 <= found["high"])


def test_a_verdict_that_the_correction_took_away_is_said():
    """A lift that its own interval calls better, and six comparisons do not: the sentence says both."""
    text, numbers = build(inputs(lift=0.16))
    taken = [found for found in numbers["comparisons"] if found["verdict"] != found["verdict_alone"]]
    assert taken
    for found in taken:
        assert found["p"] <= 0.05 < found["p_holm"]
    assert text.count("among 6 comparisons p = ") == len(taken)
    assert "(alone this would read better, p = 0.0" in text
    assert "Verdicts are corrected by Holm's method for all 6 comparisons of accuracy" in text


def test_several_draws_are_reported_as_their_mean_and_as_pass_at_k(drawn):
    """avg@n is the accuracy; pass@k stands beside it with an interval over questions, and is no lower."""
    text, numbers = drawn
    assert re.search(
        r"\| arm +\| seeds \| +avg@4 \| +pass@2 \| +NLL a token \| cut off \| answer tokens \|", text
    )
    by_id = {figure["id"]: figure for figure in numbers["figures"]}
    for arm, task in itertools.product(("base", "keep_all", "flip", "random"), ("sums", "programs")):
        mean, one_of = (by_id[f"{metric}/arm={arm}/task={task}"] for metric in ("accuracy", "pass@2"))
        assert one_of["n"] == 40
        assert mean["value"] <= one_of["value"]
        assert one_of["low"] < one_of["value"] < one_of["high"]


def test_before_and_after_stand_side_by_side_for_every_domain_and_band(report):
    """Rows for easy, medium, hard and unrated questions, accuracy and NLL beneath each other."""
    text, numbers = report
    places = {
        (figure["domain"], figure["band"], figure["arm"])
        for figure in numbers["figures"]
        if figure["metric"] == "accuracy" and "band" in figure
    }
    bands = (*BANDS, "unrated")
    assert places == set(itertools.product(("math", "code"), bands, ("keep_all", "flip", "random")))
    assert re.search(r"\| `math` \| easy +\| +\d+ \| +accuracy \|", text)


def test_rows_read_are_rows_kept_and_dropped(report):
    """The funnel adds up for every source."""
    _, numbers = report
    count = {
        (figure["metric"], figure.get("source"), figure.get("reason")): figure["value"]
        for figure in numbers["figures"]
    }
    assert (
        count["rows read", "ours", None]
        == count["rows kept", "ours", None] + count["rows dropped", "ours", None]
    )
    assert count["rows dropped", "ours", "no response"] == 1


def test_the_same_inputs_give_the_same_bytes():
    """No time, host or path; nothing hangs on the order of a dictionary or a group-by."""
    first, again = build(inputs()), build(inputs())
    assert first == again


def test_behaviours_stand_beside_what_their_place_explains(report):
    """By query group and domain, with intervals where several problems show them; a turned sign is said."""
    text, _ = report
    section = text.split("## Which steps teach")[1].split("\n## ")[0]
    assert re.search(r"`math` \| plan +\| +12 \| +25\.0 % \| +\+0\.011 \[\+0\.002, \+0\.021\]", section)
    assert re.search(r"`code` \| loop +\| +1 \| +100\.0 % \| +\+0\.5 \|", section)
    assert "**verification of `math` on `math/correct` changes sign when its place is held**" in section


def test_tokens_stand_under_both_rules_and_what_turns_is_said(report):
    """By class: its mean, that beyond its place, that under the other rule; and how far rules agree."""
    text, _ = report
    section = text.split("## Which tokens teach")[1].split("\n## ")[0]
    shown = r"\+0\.02 \[\+0\.01, \+0\.03\] \| +\+0\.01 \[\+0\.004, \+0\.02\] \| +−0\.04 \[−0\.06, −0\.02\]"
    assert re.search(rf"`math` \| operator +\| +90 \| +70\.0 % \| +{shown}", section)
    assert "tokens of `math` on `math/correct` with a rank correlation of 0.43 [0.35, 0.51]" in section
    assert "**connector of `math` on `math/correct` changes sign when its place is held**" in section
    assert "**operator of `math` on `math/correct` changes sign with the token rule**" in section
    assert "Influence of 1 classes of tokens changes sign with the token rule" in text.split("## Which")[0]


def test_words_show_as_text_and_blanks_are_seen(report):
    section = report[0].split("Words at either end")[1].split("\n## ")[0]
    so = r"`math` \| `so` +\| connector +\| +30 \| +8 \| +\+0\.06 \[\+0\.02, \+0\.1\]"
    assert re.search(so, section)
    assert "| `⏎␣␣` " in section
    assert "&lt;b␣onclick" in section
    assert "<b" not in section


def test_fifths_have_their_bounds_and_both_means(report):
    section = report[0].split("## Length and perplexity")[1].split("\n## ")[0]
    assert re.search(r"`math` +\| second \| +21 \| +45 \| +9 \| +\+0\.1 \[−0\.05, \+0\.8\]", section)
    assert re.search(r"`math` +\| lowest \| +1\.25 \| +1\.50 \|", section)


def test_what_changes_sign_under_a_variation_is_in_bold_and_counted(report):
    text, _ = report
    section = text.split("## What changes sign")[1].split("\n## ")[0]
    assert section.count("**−0.2 [−0.25, −0.15]**") == 3
    assert "Under `unit norm` 3 of 3 means change sign." in section
    assert "Under `modules all` 0 of 3 means change sign." in section
    assert "(`unit norm`): see *What changes sign*" in text.split("## Which")[0]


def test_text_from_elsewhere_cannot_act():
    """A reason or note that holds markup shows as the text it is."""
    text, _ = build(inputs(reason="<script>alert(1)</script> | [x](http://x): evidence"))
    assert "<script>" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &#124; &#91;x&#93;(http" in text


def test_reference_queries_and_reused_questions_are_said():
    """Both change what the influence means, so the reader is told."""
    text, _ = build(inputs(objective="reference", query_questions=("benchmark001", "benchmark003")))
    assert "**Queries are reference answers" in text
    assert "**2 of 40 exam questions of `sums` are also queries**" in text
    assert "No exam question is a query." in build(inputs())[0]


def test_where_a_model_lies_is_not_in_the_report():
    """The same run on two machines writes the same page."""
    assert "teach `folder` more?" in build(inputs())[0]


def test_one_training_seed_is_said():
    """An interval from one trained model leaves out the luck of training."""
    assert "**One training seed an arm**" in build(inputs(seeds=1))[0]


def test_a_run_without_the_untouched_corpus_is_refused():
    """Nothing can be said to be better than nothing."""
    given = inputs()
    with pytest.raises(DataError, match="no keep_all"):
        ReportInputs(**{**vars(given), "answers": {"flip": given.answers["flip"]}})
