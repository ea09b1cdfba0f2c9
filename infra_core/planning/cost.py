"""Bytes and seconds of every stage, from shapes and volumes. Arithmetic only: nothing is read or run.

Counted are passes over the model, decompositions and products of factors, the optimiser, a fixed time an
artifact, and judging the corpus's own answers if cleaning asks for it (`clean.verify`). Reading rows and
judging the model's answers are not: seconds where the rest is minutes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from transformers import PretrainedConfig

from infra_core.influence.plan import FactorBytes, ModuleSize, Prepare, factor_bytes, module_sizes
from infra_core.planning.machine import DEVICES
from infra_core.planning.memory import TURNS, Memory, StageBytes
from infra_core.planning.stages import StageWork, Volume, query_groups
from infra_core.planning.traffic import Traffic, traffic
from infra_core.planning.validation import Validation
from infra_core.planning.work import Machine, Shape, Work
from infra_core.recipe import KeepAll, Recipe, ValidityParams
from infra_core.recipe.params import names_adapters
from infra_core.training.adapters import adapt

BATCHES = (16_384, 8192, 4096, 2048, 1024)  # positions in one pass that are tried, the largest first
USABLE = 0.85  # of a device's memory
COUNTS = (1, 2, 4, 8, 16, 32, 64)  # of devices, that are tried where a plan does not fit
ALWAYS = ("train", "collect_queries", "fit_eigenbasis", "fit_factors", "score", "evaluate")
"""Stages of every run; what others cost is shown where a recipe asks for them."""

ARTIFACT_SECONDS = (
    0.8  # loading, saving, lm_eval: what `tiny` takes for one on two cores with hardly any rows
)


JUDGE_SECONDS = {"math": 0.01, "code": 0.15}  # of an answer, by math-verify or in the sandbox, on a busy core


@dataclass(frozen=True)
class StagePlan:
    """One stage's share of a plan.

    Attributes
    ----------
    peak_bytes
        On a device, of all that `held` lists.
    partitions
        Turns over the layers.
    passes
        Times that the rows go through the model: twice however many turns there are; for an index once a
        turn.
    """

    stage: str
    peak_bytes: int
    partitions: int
    passes: int
    seconds: float
    held: StageBytes
    traffic: Traffic


@dataclass(frozen=True)
class Plan:
    """What a run will cost.

    Attributes
    ----------
    batch
        Positions in one pass.
    recompute
        Whether training must compute activations again: the longest row would not fit without.
    room
        What is left on a device for factors and queries.
    passing
        What a pass holds on it.
    would_fit
        If it does not: on what it would.
    longest_row
        In tokens, that influence has room for, if there are longer ones.
    on_host
        Whether passes find the weights of layers on the host.
    """

    volume: Volume
    machine: Machine
    factors: FactorBytes
    stages: tuple[StagePlan, ...]
    batch: int
    recompute: bool
    room: int
    passing: int
    would_fit: tuple[str, ...] = ()
    longest_row: int | None = None
    on_host: bool = False

    @property
    def fits(self) -> bool:
        """Whether every stage fits into a device's memory."""
        return not self.too_large()

    def too_large(self) -> list[str]:
        """Name the stages that do not fit."""
        usable = USABLE * self.machine.memory_bytes
        return [stage.stage for stage in self.stages if stage.peak_bytes > usable]

    @property
    def row_bytes(self) -> int:
        """Of an index, an example; 0 where the recipe has none."""
        written = sum(stage.traffic.written for stage in self.stages if stage.stage == "index")
        return round(written / max(self.volume.rows, 1))

    @property
    def seconds(self) -> float:
        """All stages one after the other."""
        return sum(stage.seconds for stage in self.stages)

    def room_of(self, processes: int) -> int:
        """Return what is left for factors and queries to each of several processes that share a device."""
        usable = int(USABLE * self.machine.memory_bytes)
        return max(0, usable // processes - (usable - self.room))

    def as_json(self) -> dict[str, object]:
        """Return the object that `infra plan --json` ends with."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "factor_bytes": {"covariance": self.factors.covariance, "eigenvalues": self.factors.eigenvalues},
            "fits": self.fits,
            "would_fit": list(self.would_fit),
            "longest_row": self.longest_row,
            "on_host": self.on_host,
            "micro_batch_tokens": self.batch,
            "recompute": self.recompute,
            "rows": self.volume.rows,
            "tokens": self.volume.tokens,
            "assumed": list(self.volume.assumed),
            "basis": self.machine.basis,
            "index_row_bytes": self.row_bytes,
        }


def plan(
    recipe: Recipe, config: PretrainedConfig, volume: Volume, machine: Machine, *, to_validate: bool = False
) -> Plan:
    """Return the plan of a recipe for a model of this config.

    Training is taken to shard weights, gradients and moments over the devices. Fitting, scoring and answering
    hold the whole model on each and divide the rows; fitting then divides the layers, too. Where that leaves
    no room for passes, fitting and scoring leave the weights of layers on the host.

    Parameters
    ----------
    recipe
        Arms, seeds, queries and factors.
    config
        Of the base model.
    volume
        Rows and tokens.
    machine
        What it will run on.
    to_validate
        Plan `infra validate`: one training and no exam, and what the section `validity` asks for.

    Raises
    ------
    RequestError
        If it is to be validated and has no such section.
    """
    asked = recipe.require_validity() if to_validate else None
    if to_validate:
        recipe = _without_arms(recipe)
    shape, factors = Shape.of(config), recipe.factors
    sizes = module_sizes(config, factors.modules, _adapters(recipe), factors.widest)
    found = _planned(recipe, (shape, sizes), volume, machine, asked)
    if found.fits:
        return found
    return replace(found, would_fit=tuple(_would_fit(recipe, (shape, sizes), volume, machine, asked)))


def _planned(
    recipe: Recipe,
    model: tuple[Shape, Sequence[ModuleSize]],
    volume: Volume,
    machine: Machine,
    asked: ValidityParams | None,
) -> Plan:
    shape, sizes = model
    groups, usable = query_groups(recipe), int(USABLE * machine.memory_bytes)
    memory = Memory(recipe, shape, sizes, groups, machine.devices, usable)
    if machine.host_bytes is not None:
        memory = _placed(memory)
    # From the device's whole memory, never from what is free or fast just now: the flow takes this number,
    # and a run that is resumed must cut its batches as before.
    width = memory.weight_bytes
    fast = [size for size in BATCHES if shape.pass_bytes(size, width) <= machine.pass_bytes]
    rooms = (memory.has_room, memory.has_room_to_pass)
    batch = next((size for room in rooms for size in fast if room(size)), BATCHES[-1])
    run = StageWork(
        recipe, shape, volume, batch, memory.recomputes(), memory.layered if memory.on_host else 0
    )
    partitions = {stage: len(memory.turns(stage, batch)) for stage in TURNS}
    passes = {stage: min(partitions[stage], 2) for stage in TURNS}
    passes |= {"score": 1, "index": partitions["index"]}
    work = _work(run, sizes, passes)
    prepared = min(partitions["score"], 2) * machine.devices  # each device makes the queries ready for itself
    work["score"] += run.preparing() * prepared
    artifacts = {"train": run.arms + bool(volume.base_tokens), "evaluate": run.arms + 1}
    test = None if asked is None else Validation(run, asked, memory)
    if test is not None:
        work = test.beside(work)
        artifacts |= test.artifacts
    stages = []
    for stage, amount in work.items():
        if stage not in ALWAYS and not amount.flops:
            continue
        seconds = amount.seconds(machine) + artifacts.get(stage, 1) * ARTIFACT_SECONDS
        held, moved = memory.of(stage, batch), traffic(stage, run, memory)
        if test is not None and stage in test.artifacts:
            held, moved = test.held(stage), test.traffic(stage)
        turns, through = partitions.get(stage, 1), passes.get(stage, 1)
        stages.append(StagePlan(stage, held.total, turns, through, round(seconds, 1), held, moved))
    if recipe.corpus.clean.verify is not None:
        stages.insert(0, _verifying(recipe, volume))
    known, longest = factor_bytes(sizes), memory.longest_passed
    left = memory.room(batch), memory.passing(batch)
    found = Plan(volume, machine, known, tuple(stages), batch, run.recompute, *left, on_host=memory.on_host)
    return found if longest >= memory.longest_row else replace(found, longest_row=longest)


def _placed(memory: Memory) -> Memory:
    """Return how the model lies where passes find it: on the device if that leaves room for them.

    The host has it also where rows are too long for passes beside it and, without its layers, all of them are
    not, or twice as long ones.
    """
    apart = replace(memory, on_host=True)
    if not memory.has_room_to_pass(BATCHES[-1]):
        return apart
    longest = memory.longest_passed
    if longest < memory.longest_row and apart.longest_passed >= min(memory.longest_row, 2 * longest):
        return apart
    return memory


def _work(run: StageWork, sizes: Sequence[ModuleSize], passes: dict[str, int]) -> dict[str, Work]:
    return {
        "train": run.training(),
        "collect_queries": run.asking(),
        **run.fitting(sizes, passes),
        "score": run.scoring(sizes),
        "index": run.indexing(sizes, passes["index"]),
        "evaluate": run.examining(),
        "attempt": run.trying(),
        "perplexity": run.passing("perplexity"),
        "nearness": run.passing("nearness"),
    }


def _would_fit(
    recipe: Recipe,
    model: tuple[Shape, Sequence[ModuleSize]],
    volume: Volume,
    machine: Machine,
    asked: ValidityParams | None,
) -> list[str]:
    """Return the fewest devices of this memory, and of each larger one that is known, that it fits on."""
    known = sorted({device.memory_bytes for device in DEVICES.values()})
    found = []
    for memory in [machine.memory_bytes, *(size for size in known if size > machine.memory_bytes)]:

        def on(count: int, memory: int = memory) -> bool:
            larger = replace(machine, memory_bytes=memory, devices=count)
            return _planned(recipe, model, volume, larger, asked).fits

        if on(COUNTS[-1]):
            found.append(f"{next(filter(on, COUNTS))} × {memory / 1e9:g} GB")
    return found or ["a smaller model, or fewer factors.modules: no number of known devices is enough"]


def _without_arms(recipe: Recipe) -> Recipe:
    """Return a recipe that trains once, on all rows."""
    once = recipe.train.model_copy(update={"seeds": 1})
    return recipe.model_copy(update={"mixtures": {"keep_all": KeepAll(kind="keep_all")}, "train": once})


def _verifying(recipe: Recipe, volume: Volume) -> StagePlan:
    """Return the cost of judging the corpus's answers, on one core; code is judged by running it."""
    kinds = ["code" if source.domain == "code" else "math" for source in recipe.corpus.sources]
    each = sum(JUDGE_SECONDS[kind] for kind in kinds) / len(kinds)
    judged = volume.rows * (recipe.corpus.clean.verify or 0.0)
    return StagePlan("ingest", 0, 1, 1, round(judged * each, 1), StageBytes(), Traffic())


def _adapters(recipe: Recipe) -> Prepare:
    """Return what puts a recipe's adapters into a model, if they are what its factors are of."""
    lora = recipe.train.lora
    if lora is None or not names_adapters(recipe.factors.modules):
        return lambda model: model
    return lambda model: adapt(model, lora, seed=0)
