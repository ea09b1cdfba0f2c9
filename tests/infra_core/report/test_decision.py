"""What is decided about a mixture follows from verdicts, by a rule that a reader can check."""

import pytest

from infra_core.report.decision import decide, decide_all, sentences
from tests.infra_core.report.test_build import inputs

CORPUS = "keep_all"


def verdicts(**against):
    """Comparisons of one mixture on tasks ``a`` and ``b``: against → its two verdicts."""
    return [
        {"arm": "flip", "against": other, "task": task, "metric": "accuracy", "verdict": verdict}
        for other, pair in against.items()
        for task, verdict in zip("ab", pair, strict=True)
    ]


UNSURE = "cannot tell"


@pytest.mark.parametrize(
    ("compared", "decision", "because"),
    [
        ({CORPUS: ("better", UNSURE), "random": ("better", UNSURE)}, "use this mixture", "every control"),
        ({CORPUS: ("better", "better"), "random": (UNSURE, "better")}, "use this mixture", "size on `b`"),
        ({CORPUS: ("better", UNSURE), "random": (UNSURE, "better")}, UNSURE, "not than `random`"),
        ({CORPUS: ("better", UNSURE)}, UNSURE, "no control"),
        ({CORPUS: ("better", "worse"), "random": ("better", UNSURE)}, UNSURE, "worse on `b`"),
        ({CORPUS: (UNSURE, UNSURE), "random": ("better", "better")}, UNSURE, "no task tells it"),
        ({CORPUS: (UNSURE, "worse"), "random": ("better", "better")}, "do not use this mixture", "on `b`"),
    ],
)
def test_a_mixture_is_used_only_where_it_beats_the_corpus_and_its_controls_and_harms_nowhere(
    compared, decision, because
):
    found, why = decide(verdicts(**compared))
    assert found == decision
    assert because in why


def test_a_decision_is_made_of_every_mixture_and_of_no_control():
    """`random` is there to be compared with; nobody asks whether to train on it."""
    found = decide_all(inputs(), verdicts(keep_all=("better", UNSURE), random=("better", UNSURE)))
    assert [one["arm"] for one in found] == ["flip"]
    assert sentences(found)[0].startswith("- `flip`: **use this mixture**, better than")
