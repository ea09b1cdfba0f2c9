"""The dress rehearsal of a recipe: same stages, same code, shrunk widths, stand-in rows.

A recipe for eight GPUs is tried in minutes on two cores. What changes is written here and nowhere else;
stage names, mappings, rules, judges and rates stay the recipe's own.
"""

from typing import TypeVar

from infra_core.errors import RequestError
from infra_core.recipe.data import AttemptParams, Source
from infra_core.recipe.influence import QuestionParams
from infra_core.recipe.mixture import MixtureRule, Prune
from infra_core.recipe.model import ScratchBase
from infra_core.recipe.recipe import Recipe
from infra_core.recipe.validity import ValidityParams

SHRUNK = ScratchBase(
    kind="scratch", hidden_size=32, layers=2, heads=2, kv_heads=1, mlp_size=64, context=2048, seed=0
)
STAND_INS = {
    "bespoke_stratos": "standin_bespoke_stratos",
    "openr1_math": "standin_openr1_math",
    "open_code_reasoning": "standin_open_code_reasoning",
    "aime24": "standin_aime",
    "livecodebench": "standin_livecodebench",
    "limo": "standin_limo",
    "amc23": "standin_amc",
    "olympiadbench": "standin_olympiadbench",
    "gpqa": "standin_gpqa",
    "gsm8k": "standin_gsm8k",
    "mbpp": "standin_mbpp",
}
"""Mapping preset → the procedure of `made://` that writes rows of that published schema."""
S = TypeVar("S", bound=Source)
WITHOUT_REFERENCE = {"livecodebench"}  # presets of benchmarks that publish no solutions
ROWS, QUESTIONS, TOKENS, SUBSETS = 24, 6, 64, 4


def rehearsal(recipe: Recipe) -> Recipe:
    """Return the same recipe at a size that two cores finish in minutes.

    Raises
    ------
    RequestError
        If a remote source has a schema without stand-in rows.
    """
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}_rehearsal",
            "base": recipe.base.model_copy(update={"model": SHRUNK}),
            "corpus": recipe.corpus.model_copy(
                update={
                    "sources": tuple(map(_stand_in, recipe.corpus.sources)),
                    "reserve": tuple(map(_stand_in, recipe.corpus.reserve)),
                }
            ),
            "benchmarks": {name: _stand_in(given) for name, given in recipe.benchmarks.items()},
            "train": recipe.train.model_copy(update={"batch_tokens": 4096, "max_tokens": 1536, "seeds": 1}),
            "difficulty": recipe.difficulty.model_copy(update={"attempts": _brief(recipe)}),
            # A random model solves nothing, so there are no own correct answers to take.
            "queries": recipe.queries.model_copy(
                update={"objective": "reference", "tasks": _referenced(recipe), "questions": QUESTIONS}
            ),
            "factors": recipe.factors.model_copy(update={"sequences": ROWS}),
            "mixtures": {name: _of_references(rule) for name, rule in recipe.mixtures.items()},
            "evaluate": recipe.evaluate.model_copy(
                update={"questions": QUESTIONS, "max_new_tokens": TOKENS, "draws": 1, "pass_at": ()}
            ),
            "validity": _few_retrainings(recipe),
            "refit": None,  # what it names is a model of full width
            "ask": _questions(recipe),
        }
    )


def _brief(recipe: Recipe) -> AttemptParams | None:
    tried = recipe.difficulty.tried
    return tried and tried.model_copy(update={"draws": 2, "max_new_tokens": TOKENS})


def _questions(recipe: Recipe) -> QuestionParams | None:
    asked = recipe.ask
    return asked and asked.model_copy(update={"sources": tuple(map(_stand_in, asked.sources))})


def _few_retrainings(recipe: Recipe) -> ValidityParams | None:
    if recipe.validity is None:
        return None
    few = {
        "subsets": dict.fromkeys(recipe.validity.subsets, SUBSETS),
        "refine_rows": 4,
        "refine_iterations": 1,
        "ablation_seeds": None,
    }
    return recipe.validity.model_copy(update=few)


def _of_references(rule: MixtureRule) -> MixtureRule:
    """Return a rule that reference answers can decide: nothing is lost where nothing was asked."""
    return rule.model_copy(update={"by": "correct"}) if isinstance(rule, Prune) else rule


def _referenced(recipe: Recipe) -> tuple[str, ...]:
    tasks = recipe.queries.tasks
    return tuple(task for task in tasks if recipe.benchmarks[task].mapping.preset not in WITHOUT_REFERENCE)


def _stand_in(source: S) -> S:
    if source.uri.startswith("made://"):
        return source
    procedure = STAND_INS.get(source.mapping.preset or "")
    if procedure is None:
        raise RequestError(
            f"source {source.name!r} has mapping preset {source.mapping.preset!r}, for which there are no "
            f"stand-in rows; presets with stand-ins: {sorted(STAND_INS)}"
        )
    # The name as seed keeps two sources of one schema from being the same rows.
    seed = sum(source.name.encode())
    return source.model_copy(update={"uri": f"made://{procedure}?rows={ROWS}&seed={seed}", "revision": None})
