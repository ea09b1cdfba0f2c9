"""Sections on the exam: the decision, the arms side by side, and where a change came from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from infra_core.evaluation.statistics import (
    LEVEL,
    POWER,
    RESAMPLES,
    Difference,
    Table,
    mean_interval,
    paired_difference,
)
from infra_core.report.figures import Figures, Place, Unit
from infra_core.report.inputs import BASELINE, NLL, ReportInputs
from infra_core.report.markdown import code, table

ABSENT = "–"
ACCURACY = "accuracy"


def decisions(inputs: ReportInputs, figures: Figures) -> tuple[list[str], list[dict[str, Any]]]:
    """Return one sentence for every mixture, rival and task, and the comparisons as JSON objects."""
    lines, comparisons = [], []
    for arm in inputs.changed:
        for against in (BASELINE, *inputs.controls(arm)):
            for task in inputs.tasks:
                sentence, found = _decision(inputs, figures, Place(arm=arm, task=task, against=against))
                lines.append(sentence)
                comparisons += found
    return [*lines, ""] if lines else ["No mixture was asked for, so nothing is compared.", ""], comparisons


def _decision(inputs: ReportInputs, figures: Figures, place: Place) -> tuple[str, list[dict[str, Any]]]:
    arm, against, task = str(place.arm), str(place.against), str(place.task)
    answers = inputs.tables(task, ACCURACY)
    scored = paired_difference(answers[arm], answers[against], inputs.seed(task), alike=inputs.alike(answers))
    shown = figures.interval("accuracy difference", scored.interval, place, "difference")
    visible = figures.plain("smallest visible difference", scored.smallest_visible, place, "size")
    sentence = (
        f"- {code(arm)} against {code(against)} on {code(task)}: **{scored.verdict}**, {shown}. "
        f"A true difference of {visible} or more would be seen."
    )
    found = [_as_json(scored, ACCURACY, "fraction", place)]
    likelihoods = inputs.tables(task, NLL)
    if arm in likelihoods and against in likelihoods:
        lost = _lower_is_better(
            likelihoods[arm], likelihoods[against], inputs.seed(task), inputs.alike(likelihoods)
        )
        drop = figures.interval("nll difference", lost.interval, place, "nats")
        sentence += f" Reference answers: **{lost.verdict}**, {drop} nats a token."
        found.append(_as_json(lost, NLL, "nats per token", place))
    return sentence, found


def _lower_is_better(after: Table, before: Table, seed: int, alike: Sequence[Table]) -> Difference:
    found = paired_difference(-after, -before, seed, alike=alike)
    turned = found.interval
    return replace(found, interval=replace(turned, value=-turned.value, low=-turned.high, high=-turned.low))


def _as_json(found: Difference, metric: str, unit: str, place: Place) -> dict[str, Any]:
    interval = found.interval
    return {
        "id": f"{metric}/{place}",
        "arm": place.arm,
        "against": place.against,
        "task": place.task,
        "metric": metric,
        "unit": unit,
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "seeds": interval.seeds,
        "verdict": found.verdict,
        "smallest_visible_difference": found.smallest_visible,
    }


def arms_by_task(inputs: ReportInputs, figures: Figures) -> list[str]:
    """Return one table a task: every arm's accuracy, reference likelihood, cut answers and answer length."""
    lines = []
    for task in inputs.tasks:
        here = Place(task=task)
        asked = len(inputs.tables(task, ACCURACY)[BASELINE])
        questions = figures.count("questions", asked, here, "questions")
        lines += [f"{code(task)} (version {code(inputs.task_version(task))}), {questions} questions:", ""]
        accuracy, nll = (_means(inputs, figures, metric, here) for metric in (ACCURACY, NLL))
        cut, length = (inputs.tables(task, metric) for metric in ("truncated", "response_tokens"))
        rows = []
        for arm, runs in inputs.answers.items():
            place = Place(arm=arm, task=task)
            rows.append([
                code(arm),
                figures.count("seeds", len(runs), place, "seeds"),
                accuracy[arm],
                nll.get(arm, ABSENT),
                figures.plain("truncated", float(cut[arm].mean()), place, "fraction"),
                figures.count("response tokens", round(float(length[arm].mean())), place, "tokens"),
            ])
        lines += table(["arm", "seeds", "accuracy", "NLL a token", "cut off", "answer tokens"], rows)
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
            for name, metric in (("accuracy", ACCURACY), ("NLL", NLL)):
                means = _means(inputs, figures, metric, here, questions)
                cells = [means.get(arm, ABSENT) for arm in arms]
                rows.append([code(domain), str(here.band), n, name, *cells])
        lines += [f"{code(task)}, by domain and difficulty of the question:", ""]
        lines += table(["domain", "band", "questions", "of it", *map(code, arms)], rows, left=2)
    return lines


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
        interval = mean_interval(
            found,
            inputs.seed(task),
            bounds=(0.0, 1.0) if metric == ACCURACY else None,
            alike=inputs.alike(tables) if arm in inputs.mixtures else (),
        )
        # Neither an accuracy nor an NLL can be negative; the spread between training seeds does not know.
        interval = replace(interval, low=max(interval.low, 0.0))
        unit: Unit = "fraction" if metric == ACCURACY else "nats per token"
        texts[arm] = figures.interval(metric, interval, replace(here, arm=arm), unit)
    return texts


def power(inputs: ReportInputs, comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what this design can see, as the JSON object `power`."""
    return {
        "level": LEVEL,
        "power": POWER,
        "resamples": RESAMPLES,
        "seeds": inputs.recipe.train.seeds,
        "draws": inputs.recipe.evaluate.draws,
        "smallest_visible_difference": {
            found["id"]: found["smallest_visible_difference"] for found in comparisons
        },
    }
