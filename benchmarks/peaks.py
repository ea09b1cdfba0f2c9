"""What each stage holds at its fullest, above the imports and the loaded model, beside what is planned."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load as read_safetensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks import ours
from benchmarks.workloads import BATCH_TOKENS
from flows.__main__ import RECIPES
from infra_core.corpus.example import TokenizedExample
from infra_core.influence import (
    bases_from_tensors,
    by_layer,
    factors_from_tensors,
    fit_eigenbasis,
    fit_factors,
    precondition_queries,
    score_examples,
    to_tensors,
)
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.passes import quiet
from infra_core.influence.plan import sizes_of
from infra_core.planning.memory import Memory
from infra_core.planning.work import Shape
from infra_core.recipe import Recipe
from infra_core.runtime.memory import give_back, peak_memory

FITTING = ours.factor_params("fp32")
SCORING = ours.score_params("fp32")
PLENTY = 2**50  # bytes: all layers at a time


def planned(model: PreTrainedModel, groups: int, batch: int) -> dict[str, int]:
    """Return what a plan says that each stage holds beside the model."""
    tiny = Recipe.load(RECIPES / "tiny.yaml")  # in fp32, as here
    with quiet(model):
        sizes = sizes_of(model, choose_blocks(model, FITTING.modules))
    recipe = tiny.model_copy(update={"scores": SCORING})
    memory = Memory(recipe, Shape.of(model.config), sizes, groups, devices=1, usable=PLENTY)
    return {
        stage: memory.of(stage, batch).total - memory.model
        for stage in ("fit_eigenbasis", "fit_factors", "score")
    }


def measured(
    model: PreTrainedModel, rows: list[TokenizedExample], queries: list[TokenizedExample]
) -> dict[str, int]:
    """Return what each stage held, as the stages of a run do it: from files, to files."""
    groups = ours.single(queries)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def bases() -> None:
            found = fit_eigenbasis(model, rows, FITTING, batch_tokens=BATCH_TOKENS)
            _write(folder, "bases", found)

        def factors() -> None:
            known = _read(folder, "bases", bases_from_tensors)
            found = fit_factors(model, rows, FITTING, known, batch_tokens=BATCH_TOKENS)
            _write(folder, "factors", found)

        def scores() -> None:
            curvature = _read(folder, "factors", factors_from_tensors)
            asked = precondition_queries(model, curvature, groups, SCORING, batch_tokens=BATCH_TOKENS)
            del curvature
            score_examples(model, asked, rows, SCORING, batch_tokens=BATCH_TOKENS)

        stages = {"fit_eigenbasis": bases, "fit_factors": factors, "score": scores}
        return {stage: _peak(work) for stage, work in stages.items()}


def _peak(work: Callable[[], None]) -> int:
    with peak_memory() as memory:
        work()
    return memory.above


def _write(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    give_back()
    for layer, members in by_layer(values).items():
        tensors = {key: tensor.contiguous() for key, tensor in to_tensors(members).items()}
        (folder / f"{layer}.{name}").write_bytes(safetensors_bytes(tensors))


def _read(folder: Path, name: str, parse: Callable[[Mapping[str, Tensor]], dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(folder.glob(f"*.{name}")):
        found |= parse(read_safetensors(path.read_bytes()))
    return found
