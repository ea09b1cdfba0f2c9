"""The viewer's examples are chosen by the stated rule, and its numbers are the scores."""

import base64
import gzip
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.corpus.render import spans_of
from infra_core.corpus.schema import CORPUS, SCORES
from infra_core.errors import AlignmentError
from infra_core.lm.tokenizer import character_tokenizer
from infra_core.report import build, choose, draw, draw_stages, pack, write_page
from infra_core.report.traces import LEVELS, quantised
from tests.browser import opened
from tests.infra_core.report.test_build import inputs
from tests.infra_core.report.test_page import ATTACKS, STAGES

TOKENIZER = character_tokenizer()
GROUPS = ("math/correct", "code/correct")
PROMPT = 7  # tokens before a response
RESPONSES = (
    "Add them.\nWait, 2²=4 🙂🙂 so.\n\n#### 4",
    "```python\nx = [v * 3 for v in x]\n```\nDone.",
    "e\u0301 and 漢字",
)

BEHAVIOURS = (
    ["plan", "backtracking", "final_answer"],
    ["fence", "assignment", "fence", "final_answer"],
    ["final_answer"],
)
"""What their spans do."""


def scored(sizes, seed=0):
    """Influence of made-up examples on two groups, and their lengths."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            (f"e{number:04d}", group, float(random.normal()), size)
            for group in GROUPS
            for number, size in enumerate(sizes)
        ],
        schema=["example_id", "group", "influence", "tokens"],
        orient="row",
    )


def part(responses, rule="position", seed=0):
    """Rows as the task hands them on, and scores whose tokens are known."""
    rows = pl.DataFrame(
        [
            {"example_id": f"e{number}", "domain": "math", "source": "ours", "prompt": "q", "response": text}
            for number, text in enumerate(responses)
        ],
        schema=pl.Schema(CORPUS),
    ).with_columns(band=pl.lit("easy"), behaviours=pl.lit(None, dtype=pl.List(pl.String())))
    spans = spans_of(rows, TOKENIZER, "lines").group_by("example_id").agg("tokens")
    lengths_of = dict(spans.iter_rows())
    random = np.random.default_rng(seed)
    scores = []
    for name in rows["example_id"]:
        lengths = [*lengths_of[name]]
        lengths[-1] += 1  # the end of text
        for group in GROUPS:
            tokens = random.normal(size=PROMPT + sum(lengths)) * random.random()
            edges = np.cumsum([0, PROMPT, *lengths])
            spans = np.add.reduceat(tokens, edges[:-1])
            scores.append((name, group, tokens.sum(), spans.tolist(), tokens.tolist()))
    return rows, {rule: pl.DataFrame(scores, schema=pl.Schema(SCORES), orient="row")}


def unpacked(traces):
    """What the viewer unpacks, in the order of its list."""
    chunks = [json.loads(gzip.decompress(base64.b64decode(chunk))) for chunk in traces.chunks]
    return [chunks[entry["chunk"]][entry["at"]] for entry in traces.index]


def test_all_examples_are_shown_where_they_fit():
    table = scored([100] * 50)
    assert sorted(choose(table, 0)) == sorted(table["example_id"].unique())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=30, max_size=80), st.integers(0, 3))
def test_what_is_shown_stays_within_both_limits_and_does_not_change(sizes, seed):
    """No example twice, no more than asked for, the same again."""
    table = scored(sizes, seed)
    chosen = choose(table, seed, traces=20, tokens=4000)
    length = dict(table.select("example_id", "tokens").iter_rows())
    assert len(chosen) == len(set(chosen)) <= 20
    assert sum(length[name] for name in chosen) <= 4000
    assert chosen == choose(table, seed, traces=20, tokens=4000)


def test_the_strongest_of_every_group_are_shown_and_the_rest_is_drawn():
    """Of 40 places, 20 go to the top and bottom five of each of two groups, whatever the draw."""
    table = scored([10] * 2000)
    first, other = (set(choose(table, seed, traces=40)) for seed in (0, 1))
    for group in GROUPS:
        ordered = table.filter(pl.col("group") == group).sort("influence")["example_id"]
        assert {*ordered[:4], *ordered[-4:]} <= first & other
    assert 10 <= len(first - other) <= 24


def test_pieces_tile_the_text_and_carry_the_influence_of_their_tokens():
    """Bytes that share a letter are one piece; what is said of it is the sum over them."""
    rows, scores = part(RESPONSES)
    traces = pack([(rows, scores)], TOKENIZER, "lines", of=3)
    table = scores["position"]
    assert traces.groups == list(GROUPS)
    assert traces.rules == ["position"]
    for entry, trace in zip(traces.index, unpacked(traces), strict=True):
        text = trace["response"]
        assert sum(trace["lengths"]) == len(text)
        assert trace["spans"][0][0] == 0
        assert trace["spans"][-1][1] == len(trace["lengths"])
        for number, group in enumerate(GROUPS):
            here = (pl.col("example_id") == entry["id"]) & (pl.col("group") == group)
            row = table.row(by_predicate=here, named=True)
            found = trace["values"][0][number]
            shares = np.frombuffer(base64.b64decode(found["levels"]), np.int8) / LEVELS
            values = np.sign(shares) * shares**2 * found["largest"]
            own = np.array(row["tokens"][PROMPT:-1])
            letters = np.repeat(np.arange(len(text)), [len(letter.encode()) for letter in text])
            exact = np.bincount(letters, own, minlength=len(text))
            assert values == pytest.approx(exact, abs=0.011 * found["largest"])
            assert found["spans"] == pytest.approx(row["spans"][1:], rel=1e-3)
            assert found["prompt"] == pytest.approx(row["spans"][0], rel=1e-3)
            assert found["end"] == pytest.approx(row["tokens"][-1], rel=1e-3)
            assert entry["influence"][number] == pytest.approx(row["influence"], rel=1e-3)


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_strengths_keep_sign_and_come_back_within_a_hundredth(values):
    array = np.array(values, dtype=np.float64)
    largest, levels = quantised(array)
    shares = levels / LEVELS
    assert np.sign(shares) * shares**2 * largest == pytest.approx(array, abs=0.01 * largest + 1e-12)
    assert not (np.sign(levels) * np.sign(array) < 0).any()


def test_parts_and_rules_may_be_several():
    """Chunks hold whole examples, wherever parts begin; both rules stand beside each other."""
    first, second = part(RESPONSES[:1]), part(RESPONSES)
    rows, scores = second
    both = {"position": scores["position"], "loss_term": part(RESPONSES, seed=1)[1]["position"]}
    traces = pack([(rows, both)], TOKENIZER, "lines", of=3)
    assert traces.rules == ["position", "loss_term"]
    assert all(len(trace["values"]) == 2 for trace in unpacked(traces))
    assert len(pack([first, second], TOKENIZER, "lines", of=4).index) == 4


def test_scores_of_another_division_are_refused():
    """They would colour the wrong words."""
    with pytest.raises(AlignmentError, match="give the tokenizer and spans of its scores"):
        pack([part(RESPONSES)], TOKENIZER, None, of=3)


def page_of(responses, folder, prompts=None, behaviours=None):
    """A report with a viewer of these responses, on disk."""
    rows, scores = part(responses)
    if behaviours:
        rows = rows.with_columns(behaviours=pl.Series(behaviours))
    if prompts:
        rows = rows.with_columns(prompt=pl.Series(prompts))
    both = {"position": scores["position"], "loss_term": part(responses, seed=1)[1]["position"]}
    text, numbers = build(inputs())
    traces = pack([(rows, both)], TOKENIZER, "lines", of=len(responses))
    charts = draw(numbers) | {"seconds": draw_stages(STAGES)}
    path = folder / "report.html"
    path.write_text(write_page(text, numbers, charts, STAGES, traces))
    return path


@pytest.mark.slow
def test_the_viewer_switches_sorts_and_searches_by_keyboard(tmp_path):
    """What is shown is the text, coloured, with what each span does; every switch changes the colours."""
    with opened(page_of(RESPONSES, tmp_path, behaviours=BEHAVIOURS)) as seen:
        page = seen.page

        def colours():
            look = "found => found.map(one => one.style.cssText + one.className)"
            return page.eval_on_selector_all(".token", look)

        page.wait_for_selector(".token")
        scores = part(RESPONSES)[1]["position"].filter(group=GROUPS[0])
        longest = sorted(range(len(RESPONSES)), key=lambda n: -len(RESPONSES[n].encode()))
        helpful = [int(name[1:]) for name in scores.sort("influence", descending=True)["example_id"]]
        by_size = scores.sort(pl.col("influence").abs(), descending=True)["example_id"]
        orders = {
            "longest": longest,
            "shortest": longest[::-1],
            "strongest": [int(name[1:]) for name in by_size],
            "harmful": helpful[::-1],
            "helpful": helpful,
        }
        assert set(orders) == set(
            page.eval_on_selector_all("#trace-sort option", "found => found.map(one => one.value)")
        )
        for name, order in orders.items():
            page.select_option("#trace-sort", name)
            page.wait_for_selector(f"#trace-text .trace-about:has-text('e{order[0]} ·')")
            in_list = page.eval_on_selector_all(
                ".trace-row .trace-about", "rows => rows.map(r => r.textContent)"
            )
            sizes = [int(about.rsplit("· ", 1)[1].split()[0]) for about in in_list]
            assert sizes == [len(RESPONSES[n].encode()) + 1 for n in order], name
        shown = page.text_content("#trace-text .trace-about").split(" ·")[0]
        own = ".trace-line:not(.prompt):not(.end) .trace-content"
        text = "".join(page.eval_on_selector_all(own, "lines => lines.map(line => line.textContent)"))
        margin = page.eval_on_selector_all(".trace-label", "labels => labels.map(label => label.textContent)")
        assert margin[1:-1] == [label.replace("_", " ") for label in BEHAVIOURS[int(shown[1:])]]
        assert text == RESPONSES[int(shown[1:])]
        page.focus("#trace-list")
        known = [colours()]
        for key in ("g", "r", "t", "j"):
            page.keyboard.press(key)
            page.wait_for_timeout(200)
            known.append(colours())
        assert len({tuple(found) for found in known}) == len(known)
        page.keyboard.press("n")
        assert page.locator(".trace-line.current").count() == 1
        page.keyboard.press("/")
        page.keyboard.type("漢字")
        page.wait_for_selector("#trace-status:has-text('1 of 3 shown')")
        page.wait_for_selector("#trace-text:has-text('漢字')")
        page.keyboard.press("Escape")
        page.select_option("#trace-colours", "purple-green")
        assert seen.trouble == []
        assert len(seen.requests) == 1


@pytest.mark.slow
def test_of_thousands_of_examples_only_those_in_sight_are_made(tmp_path):
    """The list is as long as the corpus, its elements are not; the last one can be reached."""
    with opened(page_of([RESPONSES[n % 3] + f"\n{n}" for n in range(5000)], tmp_path)) as seen:
        seen.page.wait_for_selector(".token")
        assert seen.page.locator(".trace-row").count() < 60
        seen.page.evaluate("document.getElementById('trace-list').scrollTop = 1e9")
        seen.page.wait_for_selector("#trace-row-4999")
        assert seen.page.locator(".trace-row").count() < 60
        assert seen.trouble == []


@pytest.mark.slow
def test_foreign_text_does_nothing_in_the_viewer_of_a_real_browser(tmp_path):
    """As prompt and as response, in the list and opened: it shows as the text it is."""
    responses = [f"{attack}\nthen" for attack in ATTACKS]
    with opened(page_of(responses, tmp_path, prompts=list(ATTACKS))) as seen:
        seen.page.wait_for_selector(".token")
        seen.page.focus("#trace-list")
        for _ in ATTACKS:
            seen.page.wait_for_timeout(100)
            number = int(seen.page.text_content("#trace-text .trace-about").split(" ·")[0][1:])
            assert seen.page.text_content(".trace-line.prompt .trace-content") == ATTACKS[number]
            seen.page.keyboard.press("j")
        assert seen.page.locator("#traces img, #traces script").count() == 0
        assert seen.trouble == []
        assert len(seen.requests) == 1
