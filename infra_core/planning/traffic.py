"""What each stage reads from and writes to the store, and what it lays down on a local disk meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra_core.influence.plan import ModuleSize
from infra_core.planning.memory import ADAM_BYTES, Memory
from infra_core.planning.stages import StageWork
from infra_core.planning.work import FP32
from infra_core.recipe import DrawParams, Recipe

TEXT_BYTES = 3  # a token of an answer
SCORE_BYTES = FP32 * 1.1  # a token and group: its own score, and its share of spans'


@dataclass(frozen=True)
class Traffic:
    """Bytes of one stage, over all its artifacts.

    Attributes
    ----------
    read, written
        Of the store.
    scratch
        On the local disk, at most at once.
    """

    read: int = 0
    written: int = 0
    scratch: int = 0


def traffic(stage: str, run: StageWork, memory: Memory) -> Traffic:
    """Return what a stage moves; texts of corpora, small beside models and factors, are left out."""
    recipe, model = run.recipe, memory.model
    basis = sum(size.covariance_bytes for size in memory.sizes)
    eigenvalues = sum(size.weight_bytes for size in memory.sizes)
    match stage:
        case "train":
            times, state = run.arms + bool(run.volume.base_tokens), memory.shape.weights * ADAM_BYTES
            return Traffic(model * times, model * times, state)
        case "fit_eigenbasis":
            return Traffic(model, basis, _ends(stage, run, memory))
        case "fit_factors":
            return Traffic(model + basis, basis + eigenvalues, _ends(stage, run, memory))
        case "score":
            waits = len(memory.turns(stage, run.batch)) > 1
            written = run.scored_tokens * memory.groups * SCORE_BYTES
            factors = basis + eigenvalues
            return Traffic(model + factors, int(written), memory.groups * eigenvalues if waits else 0)
        case "index":
            written = run.indexed_rows * row_bytes(recipe, memory.sizes)
            return Traffic(model + basis + eigenvalues, int(written))
        case "collect_queries":
            return Traffic(model, _answers(recipe.queries, run.volume.questions))
        case "evaluate":
            times = run.arms + 1
            return Traffic(model * times, _answers(recipe.evaluate, run.volume.questions) * times)
    return Traffic(read=model)


def row_bytes(recipe: Recipe, sizes: Sequence[ModuleSize]) -> int:
    """Return what a row of a recipe's index takes: coordinates of each block, and the size of their steps."""
    most = recipe.index.coordinates if recipe.index is not None else 0
    return sum(min(most, size.d_out * size.d_in) + FP32 for size in sizes)


def _answers(given: DrawParams, questions: int) -> int:
    return questions * given.draws * given.max_new_tokens * TEXT_BYTES


def _ends(stage: str, run: StageWork, memory: Memory) -> int:
    """Bytes of what the turns of fitting after the first need of the model's passes."""
    turns = len(memory.turns(stage, run.batch))
    if turns == 1:
        return 0
    draws = run.recipe.factors.draws or 1
    return int(run.fitted_tokens * turns * (1 + draws) * memory.shape.hidden * memory.weight_bytes)
