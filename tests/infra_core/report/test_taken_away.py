"""What the page on validity says of labels that were masked."""

from infra_core.evaluation.statistics import Interval
from infra_core.report.figures import Figures
from infra_core.report.taken_away import taken_away_section
from infra_core.validity.ablations import Ablations, Among, Apart, Mask, TakenAway

HARM = Interval(-0.5, -0.8, -0.2, 0.1, 90, 5)
NOTHING = Interval(0.0, -0.1, 0.1, 0.05, 90, 5)
FOUND = TakenAway(
    "connector",
    "math/correct",
    HARM,
    NOTHING,
    {"position": HARM, "loss_term": Interval(2.0, 1.0, 3.0, 0.5, 300, 1)},
)


def page(*masks, found=(), among=(), apart=()):
    figures = Figures()
    return "\n".join(taken_away_section(Ablations(masks, found, among, apart), figures)), figures.as_json()


def test_where_nothing_was_masked_nothing_is_said():
    assert taken_away_section(None, Figures()) == []


def test_a_label_that_no_row_has_is_a_line_that_says_so():
    text, figures = page(Mask("verification", 0, 0, 0), Mask("latex", 0, 0, 0))
    assert "no span of this label that may be masked; not trained on" in text
    assert "no word of this label" in text
    assert [(each["value"], each["unit"]) for each in figures] == [(0, "rows"), (0, "rows")]


def test_what_was_foretold_stands_beside_what_was_measured_by_token_rule():
    text, figures = page(Mask("connector", 140, 1200, 1190), found=[FOUND])
    line = next(line for line in text.splitlines() if line.startswith("| `connector` | `math/correct`"))
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "`connector`",
        "`math/correct`",
        "−0.5 [−0.8, −0.2]",
        "worse",
        "0.0 points [−10.0, +10.0]",
        "−0.5 [−0.8, −0.2]",
        "agrees",
        "+2 [+1, +3]",
        "contrary",
    ]
    by_rule = {each["rule"]: each["value"] for each in figures if each["metric"] == "foretold"}
    assert by_rule == {"position": -0.5, "loss_term": 2.0}
    assert {each.get("token_class") for each in figures} == {"connector"}


def test_queries_that_have_a_label_stand_beside_those_that_have_not():
    told = [Among("connector", "math/correct", HARM, None)]
    text, figures = page(Mask("connector", 140, 1200, 1190), found=[FOUND], among=told)
    line = [line for line in text.splitlines() if line.startswith("| `connector` | `math/correct`")][1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2:] == ["90", "−0.5 [−0.8, −0.2]", "too few", ""]
    assert [each["value"] for each in figures if each.get("stratum") == "has it"] == [90, -0.5]


def test_of_two_labels_the_page_says_which_taught_more():
    text, _ = page(
        Mask("connector", 140, 1200, 1190),
        apart=[
            Apart("connector", "syntax", "math/correct", HARM),
            Apart("latex", "syntax", "math/correct", NOTHING),
        ],
    )
    more, unknown = (line for line in text.splitlines() if "`syntax`" in line)
    assert more.endswith("more |")
    assert "cannot tell" in unknown
