"""`build`: are the scores of a recipe true, as a page and as numbers. The same inputs give the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra_core.evaluation.statistics import told_apart
from infra_core.report.figures import Figures, Place
from infra_core.report.interventions import (
    left_out_section,
    patched_section,
    planted_section,
)
from infra_core.report.markdown import code, table
from infra_core.report.taken_away import taken_away_section
from infra_core.validity.ablations import Ablations
from infra_core.validity.agreement import FIRST, Agreement
from infra_core.validity.curves import LeftOut
from infra_core.validity.detection import Detection
from infra_core.validity.judging import Verdict
from infra_core.validity.lds import Correlations
from infra_core.validity.tail_patch import Patched

CEILING = "ceiling"


@dataclass(frozen=True)
class Cost:
    """What it took a method to score all rows for all queries."""

    seconds: float
    peak_bytes: int  # above what was there before


@dataclass(frozen=True, eq=False)
class ValidityInputs:
    """What the page is made of.

    Attributes
    ----------
    verdicts
        By design; the method that the others are held against is the first of each.
    rows
        Of the corpus that subsets are drawn from.
    queries
        By group.
    alike
        How alike other methods order rows as the first does.
    left_out
        What leaving rows out does; empty if none were.
    ablations
        What masking labels does; None if none was.
    patched
        What one more step on a method's rows does; empty if none was taken.
    found_rows
        By method: how well it finds each kind of planted row; empty if none were planted.
    found_spans
        How well the engine's influence by span finds planted noise.
    """

    name: str
    seed: int
    verdicts: Sequence[Verdict]
    costs: Mapping[str, Cost]
    rows: int
    queries: Mapping[str, int]
    alike: Sequence[Agreement]
    left_out: Sequence[LeftOut]
    ablations: Ablations | None
    patched: Sequence[Patched]
    found_rows: Mapping[str, Sequence[Detection]]
    found_spans: Detection | None
    versions: Mapping[str, str]


def build(inputs: ValidityInputs) -> tuple[str, dict[str, Any]]:
    """Return the page as Markdown, and every number in it with its interval, n, seeds and unit."""
    figures = Figures()
    sections = [
        ("Single queries", _single(inputs, figures)),
        ("Groups of queries", _groups(inputs, figures)),
        ("Accuracy", _accuracy(inputs, figures)),
        ("How alike scores are", _alike(inputs, figures)),
        ("Rows left out", left_out_section(inputs.left_out, figures)),
        ("Taken away", taken_away_section(inputs.ablations, figures)),
        ("One more step", patched_section(inputs.patched, figures)),
        ("Planted rows", planted_section(inputs.found_rows, inputs.found_spans, figures)),
        ("What it cost", _costs(inputs, figures)),
        ("How to read it", _READING),
    ]
    lines = _head(inputs, figures)
    for title, body in sections:
        if not body:
            continue
        lines += [f"## {title}", "", *body]
    versions = dict(sorted(inputs.versions.items()))
    lines += [
        "## Computed with",
        "",
        f"Seed of the resampling: {inputs.seed}.",
        "",
        *table(["package", "version"], [[code(k), code(v)] for k, v in versions.items()], left=2),
    ]
    numbers = {
        "recipe": inputs.name,
        "seed": inputs.seed,
        "figures": figures.as_json(),
        "versions": versions,
    }
    return "\n".join(lines).rstrip() + "\n", numbers


_READING = [
    "- A subset's outcome is predicted by the sum of its rows' scores; the numbers are Spearman's rank "
    "correlations of predicted and actual outcomes over the subsets of a design, of single queries their "
    "mean. 1 is a perfect order, 0 is none.",
    "- The ceiling correlates one half of the training seeds with the other: what luck of training leaves "
    "to be predicted. Scores are held against the mean of all seeds, which is less noisy than a half, so "
    "they may come out above it.",
    "- Intervals are 95 %, from resampled subsets and, for single queries, resampled queries. They do not "
    "know of other fine-tuned models or other corpora. Differences are taken in each resample: they are "
    "paired.",
    "- Designs other than `random` have contrast: their subsets differ in what they are named after.",
    "",
]


def _head(inputs: ValidityInputs, figures: Figures) -> list[str]:
    groups = " and ".join(
        f"{figures.count('queries', count, Place(group=group), 'questions')} of {code(group)}"
        for group, count in inputs.queries.items()
    )
    rows = figures.count("rows", inputs.rows)
    counts = {each.design: each.ceiling.subsets for each in inputs.verdicts}
    drawn = ", ".join(
        f"{figures.count('subsets', count, Place(design=design), 'subsets')} {design}"
        for design, count in counts.items()
    )
    seeds = figures.count("training seeds", inputs.verdicts[0].ceiling.seeds, unit="seeds")
    return [
        f"# Are the scores of {code(inputs.name)} true?",
        "",
        "Asked: do scores predict what models do that are trained on other rows? Models were trained on "
        f"subsets of {rows} rows ({drawn}), each {seeds} times, and asked for {groups}.",
        "",
    ]


def _single(inputs: ValidityInputs, figures: Figures) -> list[str]:
    first = inputs.verdicts[0]
    ours, *others = first.by_query
    found, ceiling = first.by_query[ours], first.ceiling
    lines = [
        f"On {first.design} subsets {code(ours)} predicts single queries at "
        f"{_shown(figures, 'lds', found, Place(design=first.design, method=ours))}, "
        f"{_share(found, ceiling)} of the ceiling.",
        "",
        *_by_design(figures, "lds", {each.design: (each.by_query, each.ceiling) for each in inputs.verdicts}),
    ]
    rows = []
    for method in others:
        gain = (found - first.by_query[method]).interval()
        place = Place(design=first.design, method=ours, against=method)
        rows.append([
            code(method),
            figures.interval("lds difference", gain, place, "correlation"),
            told_apart(gain),
        ])
    if rows:
        lines += table([f"against, {first.design}", f"{ours} is better by", ""], rows)
    return lines


def _groups(inputs: ValidityInputs, figures: Figures) -> list[str]:
    lines = ["The mean of a group's queries is what curation acts on.", ""]
    for group in inputs.queries:
        found = {each.design: (each.by_group[group], each.group_ceilings[group]) for each in inputs.verdicts}
        lines += [f"### {code(group)}", "", *_by_design(figures, "group lds", found, group)]
    return lines


def _accuracy(inputs: ValidityInputs, figures: Figures) -> list[str]:
    lines = [
        "The same for the share of a group's queries that a model writes exactly as they stand, if it always "
        "takes the likeliest token.",
        "",
    ]
    for group in inputs.queries:
        found = {
            each.design: (each.accuracy[group], each.accuracy_ceilings[group]) for each in inputs.verdicts
        }
        exact = {each.design: each.exact[group] for each in inputs.verdicts}
        shares = ", ".join(
            f"{figures.plain('exact', share, Place(group=group, design=design), 'fraction')} ({design})"
            for design, share in exact.items()
        )
        lines += [f"### {code(group)}", "", f"Written exactly on average: {shares}.", ""]
        if any(exact.values()):
            lines += _by_design(figures, "accuracy lds", found, group)
    return lines


def _alike(inputs: ValidityInputs, figures: Figures) -> list[str]:
    if not inputs.alike:
        return []
    groups = list(inputs.queries)
    found = {(each.method, each.group): each for each in inputs.alike}
    rows = []
    for method in dict.fromkeys(each.method for each in inputs.alike):
        cells = [code(method)]
        for group in groups:
            each = found[method, group]
            place = Place(group=group, method=method, against=each.against)
            cells.append(_shown(figures, "rank agreement", each.rank, place))
            cells.append(figures.plain("first in common", each.in_common, place, "fraction"))
        rows.append(cells)
    first = f"{FIRST:.0%}"
    told = (
        f"How alike a method orders rows as {code(inputs.alike[0].against)} does: rank correlation of the "
        f"scores of rows, resampled over rows, and how many of the first {first} both have in common, which "
        f"would be {first} by chance."
    )
    header = ["method", *(name for group in groups for name in (code(group), "first in common"))]
    return [told, "", *table(header, rows)]


def _costs(inputs: ValidityInputs, figures: Figures) -> list[str]:
    rows = [
        [
            code(method),
            figures.plain("seconds", cost.seconds, Place(method=method), "seconds"),
            figures.plain("peak memory", cost.peak_bytes / 2**20, Place(method=method), "MiB"),
        ]
        for method, cost in inputs.costs.items()
    ]
    told = "All rows for all queries, curvature included; memory is the peak above what was there before."
    return [told, "", *table(["method", "seconds", "MiB"], rows)]


def _by_design(
    figures: Figures,
    metric: str,
    found: Mapping[str, tuple[Mapping[str, Correlations], Correlations]],
    group: str | None = None,
) -> list[str]:
    """Return a table with a line a method and a column a design, and below it the ceiling."""
    methods: Iterable[str] = next(iter(found.values()))[0]
    rows = [
        [
            code(method),
            *(
                _shown(figures, metric, each[method], Place(group=group, design=design, method=method))
                for design, (each, _) in found.items()
            ),
        ]
        for method in methods
    ]
    last = [
        _shown(figures, f"{metric} {CEILING}", ceiling, Place(group=group, design=design))
        for design, (_, ceiling) in found.items()
    ]
    return table(["method", *found], [*rows, [CEILING, *last]])


def _shown(figures: Figures, metric: str, found: Correlations, place: Place) -> str:
    return figures.interval(metric, found.interval(), place, "correlation")


def _share(found: Correlations, ceiling: Correlations) -> str:
    return f"{found.value / ceiling.value:.2f}" if ceiling.value > 0 else "no share"
