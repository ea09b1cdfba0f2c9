"""`build`: what one run found, as a page and as numbers. The same inputs give the same bytes."""

from typing import Any

from infra_core.evaluation.harness import harness_version
from infra_core.recipe import ScratchBase
from infra_core.report.cautions import cautions
from infra_core.report.decision import decide_all
from infra_core.report.decision import sentences as decided
from infra_core.report.exam import arms_by_task, by_difficulty, compare, power
from infra_core.report.figures import EVERYWHERE, Figures
from infra_core.report.influence import influence
from infra_core.report.inputs import ReportInputs
from infra_core.report.markdown import code, escape, table
from infra_core.report.mixtures import mixtures
from infra_core.report.rows import difficulty, funnel, queries, screened
from infra_core.report.steps import steps
from infra_core.report.strata import strata
from infra_core.report.tokens import tokens
from infra_core.report.variations import variations


def build(inputs: ReportInputs) -> tuple[str, dict[str, Any]]:
    """Return the report as Markdown, and every number in it.

    Returns
    -------
    tuple
        The text, and an object with keys `recipe`, `decisions` (by mixture, each with its reason), `figures`
        (each with value, low, high, n, seeds and unit, by arm and task), `comparisons` (each with its own
        interval, p, p corrected for the others, and the verdict of the latter), `power` and `versions`.
        Fractions where the text shows percentages.
    """
    figures = Figures()
    sentences, comparisons = compare(inputs, figures)
    decisions = decide_all(inputs, comparisons)
    strength = power(inputs, comparisons)
    sections = [
        ("What happened", [*sentences, *arms_by_task(inputs, figures)]),
        ("Warnings", cautions(inputs, comparisons, figures)),
        ("Where the change came from", by_difficulty(inputs, figures)),
        ("Which examples teach", [_INFLUENCE, "", *influence(inputs, figures)]),
        *(
            (title, section(inputs, figures))
            for title, found, section in (
                ("Length and perplexity", inputs.strata, strata),
                ("Which steps teach", inputs.steps, steps),
                ("Which tokens teach", inputs.tokens, tokens),
                ("What changes sign", inputs.variations, variations),
            )
            if found.height
        ),
        ("What the mixtures are made of", mixtures(inputs, figures)),
        ("Queries", queries(inputs, figures)),
        ("Rows", [*funnel(inputs, figures), *screened(inputs, figures), *difficulty(inputs, figures)]),
        ("How sure this is", _certainty(inputs, strength)),
    ]
    versions = dict(sorted({**inputs.versions, "lm_eval": harness_version()}.items()))
    lines = [*_head(inputs, figures), *(["Decision:", "", *decided(decisions), ""] if decisions else [])]
    for title, body in sections:
        lines += [f"## {title}", "", *body]
    lines += [
        "## Computed with",
        "",
        *table(["package", "version"], [[code(k), code(v)] for k, v in versions.items()], left=2),
    ]
    numbers = {
        "recipe": inputs.recipe.name,
        "decisions": decisions,
        "figures": figures.as_json(),
        "comparisons": comparisons,
        "power": strength,
        "versions": versions,
    }
    return "\n".join(lines).rstrip() + "\n", numbers


_INFLUENCE = (
    "Mean influence on the log-likelihood of each group of queries, in nats: positive is helpful. "
    "Long responses have more to sum, so two more means stand beside it: a scored token's, and an example's "
    "at equal length, over those fifths of response length that all bands of the domain have."
)


def _head(inputs: ReportInputs, figures: Figures) -> list[str]:
    recipe = inputs.recipe
    base = recipe.base.model
    model = (
        f"a new {base.architecture} model"
        if isinstance(base, ScratchBase)
        else code(_without_folders(base.model))
    )
    arms = ", ".join(code(arm) for arm in inputs.mixtures)
    seeds = figures.count("training seeds", recipe.train.seeds, EVERYWHERE, "seeds")
    lines = [f"# Report on {code(recipe.name)}", ""]
    if recipe.note:
        lines += [f"> {escape(recipe.note)}", ""]
    return [
        *lines,
        f"Asked: does a corpus of another difficulty teach {model} more? Trained on {arms}, each with "
        f"{seeds} training seed{'' if recipe.train.seeds == 1 else 's'}; examined on "
        f"{', '.join(map(code, inputs.tasks))}.",
        "",
    ]


def _without_folders(model: str) -> str:
    # Where a model lies on one machine is no part of what was found; a hub id stays whole.
    return model.rstrip("/").rpartition("/")[2] if model.startswith(("/", ".", "~")) else model


def _certainty(inputs: ReportInputs, strength: dict[str, Any]) -> list[str]:
    level, chance = (f"{100 * strength[key]:.0f} %" for key in ("level", "power"))
    lines = [
        f"- Intervals are {level}: {strength['resamples']:,} resamples of whole questions, all draws of a "
        "question together; arms are compared question by question. p is the share of resamples that are as "
        "far off as the difference is large.",
        f'- "Would be seen" means: told from zero in {chance} of such experiments. A smaller difference may '
        "be there unseen.",
        f"- Draws a question: {strength['draws']}.",
    ]
    if strength["seeds"] == 1:
        lines.append(
            "- **One training seed an arm**: nothing here knows how much of a difference is luck of training."
        )
    else:
        lines.append(
            "- What training seeds differ by is in the intervals, judged from all trained arms together."
        )
    return [*lines, *_family(strength), ""]


def _family(strength: dict[str, Any]) -> list[str]:
    """Return what verdicts were corrected for."""
    scored, lost = strength["comparisons"].values()
    if max(scored, lost) < 2:
        return []
    lines = [
        f"- Verdicts are corrected by Holm's method for all {scored} comparisons of accuracy above, as one "
        f"family, and for all {lost} of reference answers, as another; so is the difference that would be "
        "seen. Intervals are each comparison's own, uncorrected."
    ]
    if max(scored, lost) * strength["smallest_p"] > 1 - strength["level"]:
        lines.append(
            "- **So many comparisons cannot be told apart by so few resamples**: the smallest p there is, "
            f"{strength['smallest_p']:.3g}, is too large for the first of them."
        )
    return lines
