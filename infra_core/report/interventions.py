"""What the page on validity says of interventions: rows left out, one more step on rows, planted rows."""

from collections.abc import Mapping, Sequence

from infra_core.evaluation.statistics import told_apart
from infra_core.report.figures import Figures, Place
from infra_core.report.markdown import code, table
from infra_core.validity.curves import LeftOut
from infra_core.validity.detection import CLEAN, Detection
from infra_core.validity.tail_patch import BY_CHANCE, Patched

_TOLD = (
    "The chance that a planted row stands below a clean one of its domain, near-duplicates of queries above "
    "it; 0.5 is none. Scores are those of a model that was trained on them. How each kind is made is in "
    "docs/validity.md."
)


def left_out_section(left_out: Sequence[LeftOut], figures: Figures) -> list[str]:
    """Return what training without the rows of either side does."""
    if not left_out:
        return []
    rows = []
    for each in left_out:
        where = f"without the {each.side} {100 * each.fraction:g} %"
        place = Place(group=each.group, reason=where, against="random")
        gain = figures.interval("left out", each.gain.interval, place, "nats")
        rows.append([where, code(each.group), gain, told_apart(each.gain.interval)])
    told = (
        "Log-likelihood of a query after training without the rows that the recipe's own scores put first or "
        "last, less that after training without as many random ones; intervals are over queries and seeds."
    )
    return [told, "", *table(["trained", "queries", "nats a query", "than random"], rows, left=2)]


def patched_section(patched: Sequence[Patched], figures: Figures) -> list[str]:
    """Return what one more step on the rows of each method does."""
    if not patched:
        return []
    rows = []
    for each in patched:
        place = Place(group=each.group, method=each.method)
        cells = [code(each.method), code(each.group), figures.interval("patched", each.gain, place, "nats")]
        if each.beside_random is None:
            cells += ["", ""]
        else:
            gain = each.beside_random.interval
            beside = Place(group=each.group, method=each.method, against=BY_CHANCE)
            cells += [figures.interval("patched", gain, beside, "nats"), told_apart(gain)]
        rows.append(cells)
    told = (
        "By how many nats one step of the optimiser on the rows that a method puts first for a query makes "
        "that query likelier to the fine-tuned model; intervals are over queries."
    )
    return [told, "", *table(["method", "queries", "nats a query", "beside random rows", ""], rows, left=2)]


def planted_section(
    found_rows: Mapping[str, Sequence[Detection]], spans: Detection | None, figures: Figures
) -> list[str]:
    """Return what was found by each method, and what the engine's influence by span finds of noise."""
    if not found_rows:
        return []
    first = next(iter(found_rows.values()))
    kinds = [f"{each.kind} ({each.auc.n})" + _among(each) for each in first]
    rows = [
        [code(method), *(_auc(figures, each, method) for each in found)]
        for method, found in found_rows.items()
    ]
    lines = [_TOLD, "", *table(["method", *kinds], rows)]
    if spans is not None:
        told = _auc(figures, spans, None)
        average = figures.plain("average precision", spans.precision, Place(reason=spans.kind), "correlation")
        chance = figures.plain("by chance", spans.chance, Place(reason=spans.kind), "correlation")
        lines += [
            f"Lines of noise inside good traces ({spans.auc.n}) against all other lines, by the influence of "
            f"a token in the recipe's own scores: {told}; average precision {average}, by chance {chance}.",
            "",
        ]
    return lines


def _among(found: Detection) -> str:
    return "" if found.against == CLEAN else f" against {found.against}"


def _auc(figures: Figures, found: Detection, method: str | None) -> str:
    place = Place(reason=found.kind, method=method, against=None if found.against == CLEAN else found.against)
    if method is not None:
        figures.plain("average precision", found.precision, place, "correlation")
    return figures.interval("auc", found.auc, place, "correlation")
