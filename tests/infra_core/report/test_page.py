"""The page says what the text and the numbers say, needs nothing else, and foreign text stays text on it."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest

from infra_core.corpus.schema import DROPPED
from infra_core.report import build, draw, draw_stages, write_page
from infra_core.report.charts.drawn import charts_of
from tests.browser import opened
from tests.infra_core.report.test_build import inputs, printed_numbers, values, ways_to_print

STAGES = [
    {"stage": "score", "key": "0123456789abcdef", "depth": 0, "seconds": 12.25, "host": "<b>here</b>"},
    {"stage": "train", "key": "fedcba9876543210", "depth": 1, "seconds": 7.75, "host": "there"},
]
ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "[x](javascript:alert(1))",
    "<svg><animate onbegin=alert(1)>",
    "{{ 7*7 }}",
)


def page(given):
    """The page of a made-up run, and its numbers."""
    text, numbers = build(given)
    return write_page(text, numbers, draw(numbers) | {"seconds": draw_stages(STAGES)}, STAGES), numbers


@pytest.fixture(scope="module")
def written():
    """The page of the run that all report tests share."""
    return page(inputs())


def attacked():
    """The same run, where every reason for dropping a row is an attempt to act."""
    rows = [("ours", f"f#{number}", attack, "{}") for number, attack in enumerate(ATTACKS)]
    return replace(inputs(), dropped=pl.DataFrame(rows, schema=pl.Schema(DROPPED), orient="row"))


def prose(document):
    """What of a page is text by us: no script, style, drawing or name, and not the table of times."""
    hidden = r"<(script|style|svg|code|figcaption|head|blockquote|h\d|nav)\b.*?</\1>"
    bare = re.sub(hidden, " ", document.partition('<section id="stages">')[0], flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", bare))


def test_every_number_on_the_page_is_in_numbers_json(written):
    """Read the page back as a reader does."""
    document, numbers = written
    known = {shown for value in values(numbers) for shown in ways_to_print(value)}
    assert len(printed_numbers(prose(document))) > 100
    assert printed_numbers(prose(document)) - known == set()


def test_every_number_in_a_chart_is_in_numbers_json(written):
    """What stands under the pointer is what the report prints of the same figure."""
    _, numbers = written
    known = {shown for value in values(numbers) for shown in ways_to_print(value)}
    drawn = draw(numbers)
    assert {"accuracy", "differences", "influence", "step_influence", "mixtures", "fates"} <= set(drawn)
    assert {"token_influence", "influence_a_token_by_perplexity"} <= set(drawn)
    for name, chart in drawn.items():
        if name == "lengths":  # tokens by rows, both of which are
            continue
        told = re.findall(r'aria-label="([^"]*)" role="graphics-symbol"', chart.svg)
        told += re.findall(r'role="graphics-symbol"[^>]*aria-label="([^"]*)"', chart.svg)
        labels = " ".join(html.unescape(label) for label in told if " on " in label or ": " in label)
        assert printed_numbers(labels) - known == set(), name


def test_the_first_screen_decides_and_shows_every_arm(written):
    """Before any heading of a section: the decision with its reason, and the arms with their intervals."""
    document, numbers = written
    first = " ".join(prose(document.partition("<section")[0]).split())
    assert "use this mixture" in first
    for arm in ("base", "keep_all", "flip", "random"):
        assert f"<td><code>{arm}</code></td>" in document
    accuracy = [one for one in numbers["figures"] if one["metric"] == "accuracy" and "band" not in one]
    for figure in accuracy:
        low, high = (f"{100 * figure[end]:.1f}" for end in ("low", "high"))
        assert f"{100 * figure['value']:.1f} % [{low}, {high}]" in first


def test_the_page_is_one_file_that_names_no_other(written):
    """No address, no import, nothing that a browser would fetch; names of schemas in drawings are none."""
    document, _ = written
    without_names = re.sub(r'xmlns(:xlink)?="[^"]*"', "", document)
    assert not re.search(r"https?://|\bsrc=|@import|<link|url\((?!#)", without_names)


def test_every_chart_is_what_its_language_allows(written):
    """Altair validates a whole chart against the schema of Vega-Lite."""
    charts = charts_of(written[1])
    assert len(charts) > 10
    for chart in charts.values():
        chart.to_dict(validate=True)


def test_pictures_are_pictures(written):
    """Each chart is also a PNG, and the same numbers draw the same bytes."""
    _, numbers = written
    first, again = draw(numbers), draw(numbers)
    assert {name: chart.svg for name, chart in first.items()} == {n: chart.svg for n, chart in again.items()}
    assert first["influence"].png().startswith(b"\x89PNG\r\n")


class Elements(HTMLParser):
    """The elements of a page as a browser would make them."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(document)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]


def test_foreign_text_shows_as_text_on_the_page(written):
    """It makes no element and no attribute, in prose, tables or drawings, and no template reads it."""
    document, _ = page(attacked())
    assert "reason" in document
    found, without = Elements(document), Elements(written[0])
    assert set(found.tags) <= set(without.tags)
    assert found.tags.count("script") == without.tags.count("script")
    assert not [name for name in found.attributes if name.startswith("on")]
    for attack in ATTACKS:
        assert attack.split(":")[0] in html.unescape(document)
    assert "&lt;b&gt;here&lt;/b&gt;" in document


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_opens_the_page_from_disk_without_complaint_or_request(tmp_path, scheme):
    """Foreign text does nothing in a real browser either; the switches work."""
    document, _ = page(attacked())
    (tmp_path / "report.html").write_text(document)
    with opened(tmp_path / "report.html", color_scheme=scheme) as seen:
        seen.page.click("label[for=switched-influence_per_token]")
        assert seen.page.is_visible("figure:has(code:text('figures/influence_per_token.svg'))")
        before = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        seen.page.click("#theme")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        seen.page.fill("#price", "3600")
        assert seen.page.text_content(".lineage tr:last-child .cost") == "20.00"
        seen.page.hover(".figure [aria-roledescription=point]")
        assert "%" in seen.page.text_content("#tip")
        assert seen.trouble == []
        assert seen.requests == [(tmp_path / "report.html").as_uri()]
