"""What a person does about a mixture: use it, leave it, or find out more. Read from corrected verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra_core.report.inputs import BASELINE, ReportInputs
from infra_core.report.markdown import code

Comparison = Mapping[str, Any]
"""An entry of `comparisons` in numbers.json."""

USE, CANNOT_TELL, DO_NOT = "use this mixture", "cannot tell", "do not use this mixture"


def decide_all(inputs: ReportInputs, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return a decision for every mixture that is no control: objects with `arm`, `decision`, `because`."""
    found = []
    for arm in inputs.changed:
        if inputs.recipe.copied_by(arm) is None:
            mine = [one for one in comparisons if one["arm"] == arm and one["metric"] == "accuracy"]
            decision, because = decide(mine)
            found.append({"arm": arm, "decision": decision, "because": because})
    return found


def decide(comparisons: Iterable[Comparison]) -> tuple[str, str]:
    """Decide on one mixture from its comparisons of accuracy, and say why in Markdown.

    It is to be used if it is better than the untouched corpus on some task and worse on none, and on such a
    task also better than every control of its size: else anything of this size might have done as well. It
    is not to be used if it is worse on some task and better on none. Verdicts are the corrected ones.
    """
    verdicts: dict[str, dict[str, str]] = {}
    for one in comparisons:
        verdicts.setdefault(one["against"], {})[one["task"]] = one["verdict"]
    on_corpus = verdicts.pop(BASELINE, {})
    better, worse = (_where(on_corpus, verdict) for verdict in ("better", "worse"))
    if not better:
        if worse:
            return DO_NOT, f"worse than the untouched corpus on {_listed(worse)}, better on no task"
        return CANNOT_TELL, "no task tells it from the untouched corpus"
    gain = f"better than the untouched corpus on {_listed(better)}"
    if worse:
        return CANNOT_TELL, f"{gain}, worse on {_listed(worse)}"
    if not verdicts:
        return CANNOT_TELL, f"{gain}, but it has no control of its size"
    rivals = {
        task: [control for control, found in verdicts.items() if found.get(task) != "better"]
        for task in better
    }
    told = [task for task, left in rivals.items() if not left]
    if told:
        return USE, f"better than the untouched corpus and than every control of its size on {_listed(told)}"
    as_good = sorted({control for left in rivals.values() for control in left})
    return CANNOT_TELL, f"{gain}, but not than {_listed(as_good)} of its size"


def sentences(decisions: Iterable[Mapping[str, str]]) -> list[str]:
    """Return a line of Markdown for every decision."""
    return [f"- {code(one['arm'])}: **{one['decision']}**, {one['because']}." for one in decisions]


def _where(verdicts: Mapping[str, str], verdict: str) -> list[str]:
    return [task for task, found in verdicts.items() if found == verdict]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(code, names))
