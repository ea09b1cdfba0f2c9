"""Sections on the exam: comparisons, the arms side by side, and where a change came from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra_core.evaluation.resampling import LEVEL, RESAMPLES
from infra_core.evaluation.statistics import (
    POWER,
    Difference,
    Interval,
    corrected,
    mean_interval,
    paired_difference,
    share_interval,
)
from infra_core.evaluation.summary import pass_metrics
from infra_core.report.figures import Figures, Place
from infra_core.report.inputs import BASELINE, NLL, ReportInputs
from infra_core.report.markdown import code, table

ABSENT = "–"
ACCURACY = "accuracy"


@dataclass(frozen=True)
class _Compared:
    """Two arms on a task by one metric; the difference is turned so that larger is better."""

    place: Place
    metric: str
    found: Difference

    @property
    def interval(self) -> Interval:
        """The difference of the metric itself."""
        better = self.found.interval
        if self.metric != NLL:
            return better
        return replace(better, value=-better.value, low=-better.high, high=-better.low)

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        interval, place = self.interval, self.place
        return {
            "id": f"{self.metric}/{place}",
            "arm": place.arm,
            "against": place.against,
            "task": place.task,
            "metric": self.metric,
            "unit": "nats per token" if self.metric == NLL else "fraction",
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
            "seeds": interval.seeds,
            "p": self.found.p,
            "p_holm": self.found.p_holm,
            "verdict": self.found.verdict,
            "verdict_alone": self.found.verdict_alone,
            "smallest_visible_difference": self.found.smallest_visible,
        }


def compare(inputs: ReportInputs, figures: Figures) -> tuple[list[str], list[dict[str, Any]]]:
    """Return one sentence for every mixture, rival and task, and the comparisons as JSON objects.

    Verdicts are corrected for one another: comparisons of accuracy as one family, those of NLL as another.
    """
    places = [
        Place(arm=arm, task=task, against=against)
        for arm in inputs.changed
        for against in (BASELINE, *inputs.controls(arm))
        for task in inputs.tasks
    ]
    if not places:
        return ["No mixture was asked for, so nothing is compared.", ""], []
    scored, lost = (_family(inputs, metric, places) for metric in (ACCURACY, NLL))
    lines, comparisons = [], []
    for place in places:
        lines.append(_sentence(scored[place], len(scored), figures))
        comparisons.append(scored[place].as_json())
        if place in lost:
            lines[-1] += _on_references(lost[place], len(lost), figures)
            comparisons.append(lost[place].as_json())
    return [*lines, ""], comparisons


def _family(inputs: ReportInputs, metric: str, places: Sequence[Place]) -> dict[Place, _Compared]:
    """Return all comparisons by a metric, corrected for one another."""
    alone = {}
    for place in places:
        arm, against, task = str(place.arm), str(place.against), str(place.task)
        tables = inputs.tables(task, metric)
        if arm in tables and against in tables:
            sign = -1 if metric == NLL else 1  # a lower NLL is better
            alone[place] = paired_difference(
                sign * tables[arm], sign * tables[against], inputs.seed(task), alike=inputs.alike(tables)
            )
    family = zip(alone, corrected(list(alone.values())), strict=True)
    return {place: _Compared(place, metric, found) for place, found in family}


def _sentence(compared: _Compared, among: int, figures: Figures) -> str:
    place, found = compared.place, compared.found
    shown = figures.interval("accuracy difference", compared.interval, place, "difference")
    visible = figures.plain("smallest visible difference", found.smallest_visible, place, "size")
    return (
        f"- {code(str(place.arm))} against {code(str(place.against))} on {code(str(place.task))}: "
        f"**{found.verdict}**, {shown}{_had_it_been_alone(found, among)}. "
        f"A true difference of {visible} or more would be seen."
    )


def _on_references(compared: _Compared, among: int, figures: Figures) -> str:
    drop = figures.interval("nll difference", compared.interval, compared.place, "nats")
    found = compared.found
    return f" Reference answers: **{found.verdict}**, {drop} nats a token{_had_it_been_alone(found, among)}."


def _had_it_been_alone(found: Difference, among: int) -> str:
    """Return what the correction changed, if it did."""
    if found.verdict == found.verdict_alone:
        return ""
    return (
        f" (alone this would read {found.verdict_alone}, p = {found.p:.3g}; "
        f"among {among} comparisons p = {found.p_holm:.3g})"
    )


def arms_by_task(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return one table a task: every arm's accuracy, pass@k, reference NLL, cut answers and answer length."""
    lines = []
    scores = [ACCURACY, *_passes(inputs), NLL]
    for task in inputs.tasks:
        here = Place(task=task)
        asked = len(inputs.tables(task, ACCURACY)[BASELINE])
        questions = figures.count("questions", asked, here, "questions")
        lines += [f"{code(task)} (version {code(inputs.task_version(task))}), {questions} questions:", ""]
        means = [_means(inputs, figures, metric, here) for metric in scores]
        cut, length = (inputs.tables(task, metric) for metric in ("truncated", "response_tokens"))
        rows = []
        for arm, runs in inputs.answers.items():
            place = Place(arm=arm, task=task)
            rows.append([
                code(arm),
                figures.count("seeds", len(runs), place, "seeds"),
                *(mean.get(arm, ABSENT) for mean in means),
                figures.plain("truncated", float(cut[arm].mean()), place, "fraction"),
                figures.count("response tokens", round(float(length[arm].mean())), place, "tokens"),
            ])
        names = [_named(inputs, metric) for metric in scores]
        lines += table(["arm", "seeds", *names, "cut off", "answer tokens"], rows)
    return lines


def by_difficulty(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return, for each task, accuracy and NLL by domain and band: the untouched corpus, then each mixture."""
    arms = [BASELINE, *inputs.changed]
    lines = []
    for task in inputs.tasks:
        rows = []
        for domain, band, questions in inputs.cells_of_exam(task):
            here = Place(task=task, domain=domain, band=band or "unrated")
            n = figures.count("questions", len(questions), here, "questions")
            for metric in (ACCURACY, NLL):
                means = _means(inputs, figures, metric, here, questions)
                cells = [means.get(arm, ABSENT) for arm in arms]
                rows.append([code(domain), str(here.band), n, _named(inputs, metric), *cells])
        lines += [f"{code(task)}, by domain and difficulty of the question:", ""]
        lines += table(["domain", "band", "questions", "of it", *map(code, arms)], rows, left=2)
    return lines


def _passes(inputs: ReportInputs) -> list[str]:
    return pass_metrics(inputs.recipe.evaluate.draws, inputs.recipe.evaluate.pass_at)


def _named(inputs: ReportInputs, metric: str) -> str:
    """Return what a reader knows a metric as: the mean over n draws is avg@n."""
    draws = inputs.recipe.evaluate.draws
    if metric == ACCURACY and draws > 1:
        return f"avg@{draws}"
    return "NLL a token" if metric == NLL else metric


def _means(
    inputs: ReportInputs, figures: Figures, metric: str, here: Place, questions: list[str] | None = None
) -> dict[str, str]:
    """Return every arm's mean as text. Cells by difficulty leave out arms that are not trained on."""
    task = str(here.task)
    tables = inputs.tables(task, metric, questions)
    if questions is not None:
        tables = {arm: found for arm, found in tables.items() if arm in inputs.mixtures}
    texts = {}
    for arm, found in tables.items():
        place = replace(here, arm=arm)
        alike = inputs.alike(tables) if arm in inputs.mixtures else ()
        if metric == NLL:
            interval = mean_interval(found, inputs.seed(task), alike=alike)
            # No NLL is negative; the spread between training seeds does not know.
            interval = replace(interval, low=max(interval.low, 0.0))
            texts[arm] = figures.interval(metric, interval, place, "nats per token")
        else:
            interval = share_interval(found, inputs.seed(task), alike=alike)
            texts[arm] = figures.interval(metric, interval, place, "fraction")
    return texts


def power(inputs: ReportInputs, comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what this design can see, as the JSON object `power`."""
    exam = inputs.recipe.evaluate
    return {
        "level": LEVEL,
        "power": POWER,
        "resamples": RESAMPLES,
        "seeds": inputs.recipe.train.seeds,
        "draws": exam.draws,
        "pass_at": [int(metric.rpartition("@")[2]) for metric in _passes(inputs)],
        "comparisons": {
            metric: sum(found["metric"] == metric for found in comparisons) for metric in (ACCURACY, NLL)
        },
        "smallest_p": 1 / (RESAMPLES + 1),
        "smallest_visible_difference": {
            found["id"]: found["smallest_visible_difference"] for found in comparisons
        },
    }
