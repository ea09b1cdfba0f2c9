"""What a reader must know before believing the rest: weaknesses of this run, as it shows them itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from infra_core.attributes.places import clear_sign
from infra_core.report.figures import EVERYWHERE, Figures
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code
from infra_core.report.tokens import turned_by_rule


def cautions(inputs: ReportInputs, comparisons: Sequence[Mapping[str, Any]], figures: Figures) -> list[str]:
    """Return every weakness that can be read off the run, as lines of Markdown."""
    found = [
        *_earlier_model(inputs, figures),
        *_flips(inputs, figures),
        *_rules(inputs, figures),
        *_variations(inputs),
        *_rivals(inputs, comparisons),
        *_unlike_controls(inputs),
        *_same_rows(inputs),
    ]
    if inputs.recipe.train.seeds == 1:
        found.append("One training seed an arm: the luck of training is in no interval.")
    if inputs.batch_dependence:
        found.append(f"Gradients depend on what shares a batch: {code(inputs.batch_dependence)}.")
    return [*(f"- {line}" for line in found or ["None of the signs that are looked for was seen."]), ""]


def _earlier_model(inputs: ReportInputs, figures: Figures) -> Iterator[str]:
    """Say that scores are by a model that did not see all rows."""
    drift = inputs.drift
    if drift is None:
        return
    new = figures.count("rows newer than the scored model", drift.new)
    gone = figures.count("rows gone since the scored model", drift.gone)
    told = f"Scores are by the model and the factors of an earlier run: {new} rows came since, {gone} went"
    if drift.curvature is not None:
        moved = figures.plain("curvature moved since", drift.curvature, EVERYWHERE, "fraction")
        told += f", which moves the curvature by {moved}"
    yield f"{told}."


def _flips(inputs: ReportInputs, figures: Figures) -> Iterator[str]:
    """Say where length alone decides the sign: an example helps, its tokens harm, and both are clear."""
    clear = [clear_sign(f"low{by}", f"high{by}") for by in ("", "_per_token", "_equal_length")]
    cells = inputs.cells.filter(pl.col("source").is_null()).with_columns(signs=pl.concat_list(clear))
    flipped = cells.filter(pl.col("signs").list.max() > 0, pl.col("signs").list.min() < 0)
    if flipped.height:
        count = figures.count("cells that change sign with length", flipped.height)
        names = ", ".join(
            f"{code(cell['domain'])} {cell['band'] or 'unrated'} on {code(cell['group'])}"
            for cell in flipped.iter_rows(named=True)
        )
        yield f"Influence of {count} cells changes sign with how length is counted: {names}."


def _rules(inputs: ReportInputs, figures: Figures) -> Iterator[str]:
    """Say which classes of tokens help under one token rule and harm under the other, both clearly."""
    turned = turned_by_rule(inputs)
    if turned.height:
        count = figures.count("classes that change sign with the token rule", turned.height)
        names = ", ".join(
            f"{row['token_class']} of {code(row['domain'])} on {code(row['group'])}"
            for row in turned.iter_rows(named=True)
        )
        yield f"Influence of {count} classes of tokens changes sign with the token rule: {names}."


def _variations(inputs: ReportInputs) -> Iterator[str]:
    """Say under which variations something changes sign; the section on them counts."""
    turned = inputs.variations.filter("turned")["variation"].unique(maintain_order=True)
    if len(turned):
        names = ", ".join(map(code, turned))
        yield f"Some means change sign where influence is taken otherwise ({names}): see *What changes sign*."


def _rivals(inputs: ReportInputs, comparisons: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which cheap rival beats the mixture that it copies."""
    for one in comparisons:
        rival = inputs.recipe.copied_by(one["against"]) == one["arm"]
        if rival and one["metric"] == "accuracy" and one["verdict"] == "worse":
            yield f"The control {code(one['against'])} beats {code(one['arm'])} on {code(one['task'])}."


def _unlike_controls(inputs: ReportInputs) -> Iterator[str]:
    """Say which mixtures have nothing of their size beside them."""
    for arm in inputs.changed:
        if inputs.recipe.copied_by(arm) is None and not inputs.controls(arm):
            yield f"{code(arm)} has no control of its size: what it does may be what any change does."


def _same_rows(inputs: ReportInputs) -> Iterator[str]:
    """Say which arms teach what another one teaches, and so are no experiment."""
    for arm, other in inputs.first_alike.items():
        if arm != other:
            yield f"{code(arm)} teaches the rows of {code(other)} and no others: they share their runs."
