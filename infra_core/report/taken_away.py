"""What the page on validity says of labels that were masked: behaviours of spans, and classes of words."""

from collections.abc import Sequence

from infra_core.evaluation.statistics import Interval, told_apart
from infra_core.recipe.mixture import is_behaviour
from infra_core.report.figures import Figures, Place
from infra_core.report.markdown import code, table
from infra_core.validity.ablations import (
    CONTROL,
    Ablations,
    Among,
    Apart,
    Mask,
    TakenAway,
    sign,
)

_TOLD = (
    "Spans that do one thing, or words of one class, were masked out of the loss of all rows: read as before "
    "but not learnt. The control masks as many tokens of other spans, or words, of the same rows, as far as "
    "there are so many. Both are trained with the same seeds."
)
_FOUND = (
    "Log-likelihood of a query after training without the label, less that after training on its control; "
    "likewise the share of queries written exactly. Below zero, what was masked had taught. Foretold is "
    "minus the influence of the masked tokens, that of the control's added, by token rule; it is meant for "
    "small changes, so its sign tells more than its size. Intervals are over queries and training seeds, "
    "paired by both; of what was foretold they are over problems. They are not corrected for their number."
)
_AMONG = (
    "The same among queries whose own response has the label, so that who never learnt it finds it less "
    "likely, and among the others."
)
_APART = (
    "The same of one label less that of another; below zero, the first had taught more. Labels differ in how "
    "many tokens they have."
)


def taken_away_section(ablations: Ablations | None, figures: Figures) -> list[str]:
    """Return what masking each label did, what was foretold, and which labels differ."""
    if ablations is None:
        return []
    lines = [_TOLD, "", *_masks(ablations.masks, figures)]
    if ablations.found:
        lines += [_FOUND, "", *_found(ablations.found, figures)]
        lines += [_AMONG, "", *_among(ablations.among, figures)]
    if ablations.apart:
        lines += [_APART, "", *_apart(ablations.apart, figures)]
    return lines


def _masks(masks: Sequence[Mask], figures: Figures) -> list[str]:
    rows = []
    for each in masks:
        place = _place(each.label)
        cells = [code(each.label), figures.count("rows masked", each.rows, place)]
        if each.rows:
            control = _place(each.label, against=CONTROL)
            cells += [
                figures.count("tokens masked", each.tokens, place, "tokens"),
                figures.count("tokens masked", each.control_tokens, control, "tokens"),
            ]
        else:
            cells += [f"no {_kind(each.label)} of this label that may be masked; not trained on", ""]
        rows.append(cells)
    return table(["label", "rows", "tokens masked", "by its control"], rows)


def _found(found: Sequence[TakenAway], figures: Figures) -> list[str]:
    rules = list(dict.fromkeys(rule for each in found for rule in each.foretold))
    rows = []
    for each in found:
        place = _place(each.label, group=each.group, against=CONTROL)
        cells = [
            code(each.label),
            code(each.group),
            figures.interval("taken away", each.likely, place, "nats"),
            told_apart(each.likely),
            figures.interval("exact, taken away", each.exact, place, "difference"),
        ]
        for rule in rules:
            told = _place(each.label, group=each.group, against=CONTROL, rule=rule)
            foretold = each.foretold.get(rule)
            cells += (
                ["not scored", ""]
                if foretold is None
                else [figures.interval("foretold", foretold, told, "nats"), sign(each.likely, foretold)]
            )
        rows.append(cells)
    header = ["without", "queries", "nats a query", "than its control", "written exactly"]
    header += [name for rule in rules for name in (f"foretold ({rule})", "sign")]
    return table(header, rows, left=2)


def _among(among: Sequence[Among], figures: Figures) -> list[str]:
    rows = []
    for each in among:
        cells = [code(each.label), code(each.group)]
        for stratum, gain in (("has it", each.having), ("has it not", each.others)):
            place = _place(each.label, group=each.group, against=CONTROL, stratum=stratum)
            if gain is None:
                cells += ["too few", ""]
                continue
            cells.append(figures.count("queries", gain.n, place, "questions"))
            cells.append(figures.interval("taken away", gain, place, "nats"))
        rows.append(cells)
    header = ["without", "queries", "that have it", "nats a query", "that have it not", "nats a query"]
    return table(header, rows, left=2)


def _apart(apart: Sequence[Apart], figures: Figures) -> list[str]:
    rows = []
    for each in apart:
        place = _place(each.label, group=each.group, against=each.against)
        gain = figures.interval("taken away", each.likely, place, "nats")
        rows.append([code(each.label), code(each.against), code(each.group), gain, _told(each.likely)])
    return table(["without", "beside without", "queries", "nats a query", "the first taught"], rows, left=3)


def _told(gain: Interval) -> str:
    return {"worse": "more", "better": "less"}.get(told_apart(gain), "cannot tell")


def _kind(label: str) -> str:
    return "span" if is_behaviour(label) else "word"


def _place(label: str, **where: str) -> Place:
    of_spans = is_behaviour(label)
    return Place(behaviour=label if of_spans else None, token_class=None if of_spans else label, **where)
