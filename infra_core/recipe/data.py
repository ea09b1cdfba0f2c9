"""Where rows come from and what is asked of them."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from infra_core.addresses import carries_password
from infra_core.recipe.evaluation import DrawParams, Temperature
from infra_core.recipe.params import Count, Fraction, Name, Params

Judge = Literal["math", "code", "choice", "exact"]


class ColumnMapping(Params):
    """How a raw row becomes the fields of an example, without code.

    Each field is a dotted path into the row (``conversations.1.value``) or, with braces, a template of
    such paths (``"{title}: {body}"``). `preset` names a built-in mapping that the given fields override.

    Where `response` is a list, a row holds several responses to one problem. `correct` may then be a path to
    as many verdicts; `take` says whether the first right one becomes an example, or each.
    """

    preset: str | None = None
    prompt: str | None = None
    response: str | None = None
    answer: str | None = None
    tests: str | None = None
    difficulty: str | None = None
    group: str | None = None
    license: str | None = None
    correct: str | None = None
    take: Literal["first", "all"] | None = None  # none: the first, if a preset lists several
    where: dict[str, str] | None = None  # path → regular expression; other rows belong to another source


class Source(Params):
    """Raw rows from somewhere.

    `uri` is a path or glob on any fsspec filesystem (JSONL, gzipped or zstd JSONL, Parquet, CSV), a folder
    written by `datasets`, ``hf://datasets/org/name/**/*.parquet`` (then `revision` is required), or
    ``made://procedure?option=value``: rows made on the spot by a procedure of `infra_core.sources.made`.
    """

    name: Name
    domain: Name
    uri: str
    revision: str | None = None
    mapping: ColumnMapping = ColumnMapping()
    license: str | None = None
    rows: Count | None = None  # the first n rows of each file; all by default
    family: Name | None = None  # the collection it is from, which other sources may share; itself by default

    @model_validator(mode="after")
    def _pinned(self) -> "Source":
        if carries_password(self.uri):
            raise ValueError(f"the address of source {self.name!r} carries a password; use the environment")
        if self.uri.startswith("hf://") and not self.revision:
            raise ValueError(f"source {self.name!r} reads {self.uri} without a revision; pin the commit")
        return self

    def placeless(self) -> "Source":
        """Return the same source without what its rows do not hang on: where they are, and its family."""
        return self.model_copy(update={"uri": "", "revision": None, "family": None})


class CleanParams(Params):
    """Row-local cleaning; every drop is kept with its reason. What is None is not asked."""

    min_response_chars: Count = 1
    max_response_chars: Count = 400_000
    min_response_tokens: Count | None = None  # of the base model's tokenizer
    max_response_tokens: Count | None = None
    require_answer: bool = False
    secrets: Literal["mask", "drop", "keep"] = "mask"  # keys, passwords, addresses of people
    languages: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None  # ISO 639-1: en, zh …
    licenses: Annotated[tuple[str, ...], Field(min_length=1)] | None = None  # that a row may have
    verify: Fraction | None = None  # of the rows with an answer or tests, so many are judged; wrong ones go

    @property
    def counts_tokens(self) -> bool:
        """Whether a tokenizer is needed."""
        return self.min_response_tokens is not None or self.max_response_tokens is not None


class IngestParams(Params):
    """Sources of one corpus and how they are cleaned."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    clean: CleanParams = CleanParams()


class CorpusParams(IngestParams):
    """The corpus of a run, and the pool that swaps draw from."""

    reserve: tuple[Source, ...] = ()


Better = Literal["judged", "labelled", "longer", "shorter", "source"]


class ScreenParams(Params):
    """Global looks: duplicates across sources, overlap with benchmarks (rules: `docs/screening.md`)."""

    decontaminate: bool = True
    ngram: Count = 10
    drop_containment: Fraction = 0.15
    suspect_containment: Fraction = 0.10
    deduplicate: bool = True
    similarity: Fraction | None = 0.7  # of prompts that ask for one problem; none: only equal ones do
    responses: Literal["one_source", "all"] = (
        "one_source"  # to one problem: of one source, or all that differ
    )
    # Which of two rows for one problem is the better one: the first of these that differs decides, then the
    # earlier line. What can be judged and rated serves everything after; sources stand in order of trust.
    prefer: tuple[Better, ...] = ("judged", "labelled", "source")


class AttemptParams(DrawParams):
    """How often the model before fine-tuning tries a problem, to see how hard it is."""

    draws: Count = 8
    temperature: Temperature = 0.7


class RateParams(Params):
    """Difficulty, and its bands by quantile within a domain. A bare word is its method."""

    method: Literal["label", "pass_rate"] = "label"
    unlabelled: Literal["response_length", "pass_rate"] | None = None  # for domains without any label
    attempts: AttemptParams | None = None  # by default eight short ones
    bands: tuple[Fraction, Fraction] = (1 / 3, 2 / 3)

    @model_validator(mode="before")
    @classmethod
    def _method_alone(cls, given: Any) -> Any:
        return {"method": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _attempts_are_asked_for(self) -> "RateParams":
        if self.attempts is not None and self.tried is None:
            raise ValueError(
                "difficulty.attempts are for method or unlabelled pass_rate; ask for one, or remove them"
            )
        return self

    @property
    def tried(self) -> AttemptParams | None:
        """How the model tries problems; None where nothing is rated by that."""
        if "pass_rate" not in {self.method, self.unlabelled}:
            return None
        return self.attempts or AttemptParams()


class Benchmark(Source):
    """Questions with something to judge an answer by. Used as queries, as exam, or both."""

    judge: Judge
    task: Name | None = None  # the task definition that asks; by default a prompt is one chat turn
