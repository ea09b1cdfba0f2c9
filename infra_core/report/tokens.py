"""Section on tokens: which classes of them teach, under which token rule, and which words most clearly."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from infra_core.attributes.places import PLACES, clear_sign, correlates
from infra_core.attributes.tokens import CLASS
from infra_core.evaluation.statistics import Interval
from infra_core.report.figures import Figures, Place
from infra_core.report.influence import mean
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code, table

TOLD = (
    "Tokens of responses by what they are where they stand, as `docs/attributes.md` defines it: mean "
    "influence of a token in nats, and how far that is beyond all tokens at the same place, where a response "
    f"is cut into {PLACES} equal stretches. Intervals are over problems."
)
WORDS = (
    "Words at either end of each domain: names, numbers, commands and marks, whose tokens are averaged. Each "
    "problem is one witness, and a word is drawn towards the others of its class as far as few problems show "
    "it (empirical Bayes); words of a single problem are not ranked."
)
Row = dict[str, Any]
BLANKS = str.maketrans({"\n": "⏎", " ": "␣", "\t": "⇥"})


def tokens(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return tables for each query group: classes by domain, under both rules if there are two, and words."""
    figures.count("stretches of a response", PLACES)
    lines = [TOLD, ""]
    for (group,), found in inputs.tokens.group_by("group", maintain_order=True):
        rows = [
            _class_row(row, _under_other_rule(inputs, row), figures) for row in found.iter_rows(named=True)
        ]
        rule = inputs.recipe.scores.token_rule
        other = (
            [f"under {code(inputs.recipe.scores.other_rule.token_rule)}"]
            if inputs.other_tokens.height
            else []
        )
        header = [
            "domain",
            "class",
            "words",
            "of tokens",
            f"a token, {code(rule)}",
            "beyond its place",
            *other,
        ]
        lines += [f"On {code(str(group))}:", "", *table(header, rows, left=2)]
    said = [f"- {one}" for one in (*_rules(inputs, figures), *_turned(inputs))]
    lines += [*said, ""] if said else []
    return lines + (_words(inputs, figures) if inputs.words.height else [])


def _class_row(row: Row, other: Row | None, figures: Figures) -> list[str]:
    place = Place(group=row["group"], domain=row["domain"], token_class=row[CLASS])
    return [
        code(row["domain"]),
        row[CLASS],
        figures.count("words", row["n_words"], place),
        figures.plain("share of tokens", row["share"], place, "fraction"),
        mean(figures, "token influence", row, "", place),
        mean(figures, "token influence beyond place", row, "_beyond_place", place),
        *([] if other is None else [_other(other, figures)]),
    ]


def _under_other_rule(inputs: ReportInputs, row: dict) -> Row | None:
    if inputs.other_tokens.is_empty():
        return None
    same = [pl.col(name) == row[name] for name in ("group", "domain", CLASS)]
    found = inputs.other_tokens.filter(*same)
    return found.row(0, named=True) | {"rule": inputs.recipe.scores.other_rule.token_rule}


def _other(row: Row, figures: Figures) -> str:
    place = Place(group=row["group"], domain=row["domain"], token_class=row[CLASS], rule=row["rule"])
    return mean(figures, "token influence", row, "", place)


def _rules(inputs: ReportInputs, figures: Figures) -> Iterator[str]:
    """Say how far both token rules order the tokens of a response alike."""
    for row in inputs.agreement_of_rules.iter_rows(named=True):
        place = Place(group=row["group"], domain=row["domain"])
        where = f"tokens of {code(row['domain'])} on {code(row['group'])}"
        metric = "agreement of token rules"
        if row["low"] is None:
            shown = figures.plain(metric, row["spearman"], place, "correlation")
        else:
            found = Interval(row["spearman"], row["low"], row["high"], 0.0, row["n_problems"], 1)
            shown = figures.interval(metric, found, place, "correlation")
        yield f"Both token rules order the {where} with a rank correlation of {shown} within a response."


def _turned(inputs: ReportInputs) -> Iterator[str]:
    for row in correlates(inputs.tokens).iter_rows(named=True):
        yield (
            f"**{row[CLASS]} of {code(row['domain'])} on {code(row['group'])} changes sign when its place is "
            "held**: where it stands explains it, not what it is."
        )
    for row in turned_by_rule(inputs).iter_rows(named=True):
        yield (
            f"**{row[CLASS]} of {code(row['domain'])} on {code(row['group'])} changes sign with the token "
            "rule**: its own loss and the losses that it leads to say opposite things."
        )


def turned_by_rule(inputs: ReportInputs) -> pl.DataFrame:
    """Return the classes whose influence has opposite signs under the two rules, both clear of zero."""
    keys = ["group", "domain", CLASS]
    others = inputs.other_tokens.select(*keys, other_low="low", other_high="high")
    both = inputs.tokens.join(others, on=keys, maintain_order="left")
    return both.filter(clear_sign("low", "high") * clear_sign("other_low", "other_high") < 0)


def _words(inputs: ReportInputs, figures: Figures) -> list[str]:
    lines = [WORDS, ""]
    for (group,), found in inputs.words.group_by("group", maintain_order=True):
        rows = []
        for row in found.iter_rows(named=True):
            place = Place(group=str(group), domain=row["domain"], token_class=row[CLASS], word=row["word"])
            rows.append([
                code(row["domain"]),
                code(row["word"].translate(BLANKS)),
                row[CLASS],
                figures.count("times a word stands", row["n_words"], place),
                figures.count("problems with a word", row["n_problems"], place, "questions"),
                mean(figures, "word influence", row, "", place),
            ])
        header = ["domain", "word", "class", "times", "problems", "a token, shrunk"]
        lines += [f"On {code(str(group))}:", "", *table(header, rows, left=3)]
    return lines
