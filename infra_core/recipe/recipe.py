"""`Recipe`: everything that decides the numbers of one run, as one typed, frozen value.

A recipe says *what*; a `RunContext` says *where and how fast*. A field belongs here if changing it may
change a result, and nowhere else.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from infra_core.errors import RequestError
from infra_core.recipe.data import Benchmark, CorpusParams, RateParams, ScreenParams, Source
from infra_core.recipe.evaluation import EvaluateParams
from infra_core.recipe.file import in_a_line, read
from infra_core.recipe.influence import (
    FactorParams,
    IndexParams,
    QueryParams,
    QuestionParams,
    RefitParams,
    ScoreParams,
)
from infra_core.recipe.mixture import (
    COPIES,
    Ablate,
    Control,
    Identity,
    KeepAll,
    MixParams,
    MixtureRule,
    Only,
    Prune,
    Spans,
)
from infra_core.recipe.model import BaseSection, TrainSection
from infra_core.recipe.params import Fraction, Name, Params, names_adapters
from infra_core.recipe.robustness import RobustnessParams
from infra_core.recipe.validity import ValidityParams
from infra_core.seeds import derive_seed


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
    refit: RefitParams | None = None  # none: model and factors are of the rows as they are now
    index: IndexParams | None = None  # for `infra ask`, as what is asked of it; no part of a mixture
    ask: QuestionParams | None = None
    compare_rules: bool | None = None  # score the corpus under the other token rule too; the page can switch
    robustness: RobustnessParams | None = None  # the report shows its tables under these variations too
    mixtures: Annotated[dict[Name, MixtureRule], Field(min_length=1)]
    evaluate: EvaluateParams
    validity: ValidityParams | None = None  # for `infra validate`; no part of what a mixture comes to

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _named_by_key(cls, benchmarks: Any) -> Any:
        if not isinstance(benchmarks, dict):
            return benchmarks
        return {
            name: {**given, "name": name} if isinstance(given, dict) else given
            for name, given in benchmarks.items()
        }

    @field_validator("mixtures")
    @classmethod
    def _keep_all_is_ours(cls, mixtures: dict[str, MixtureRule]) -> dict[str, MixtureRule]:
        if "keep_all" in mixtures and not isinstance(mixtures["keep_all"], KeepAll):
            raise ValueError("the arm called keep_all is the untouched corpus; give your rule another name")
        return mixtures

    @model_validator(mode="after")
    def _names_are_known(self) -> "Recipe":
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
        names = [source.name for source in (*self.corpus.sources, *self.corpus.reserve)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"source names {twice} occur twice; raw_ref would be ambiguous")
        return self

    @model_validator(mode="after")
    def _controls_copy_a_rule(self) -> "Recipe":
        for name, rule in self.mixtures.items():
            if not isinstance(rule, Control):
                continue
            model = self.mixtures.get(self.copied_by(name) or "")
            if model is None or isinstance(model, Control | KeepAll):
                raise ValueError(
                    f"mixtures.{name} is a control, but of which arm? name one of {self._rules()} in `like`"
                )
            if model.kind not in COPIES[rule.kind]:
                raise ValueError(
                    f"mixtures.{name}: a control of kind {rule.kind} cannot copy a {model.kind}; it copies "
                    f"{', '.join(sorted(COPIES[rule.kind]))}"
                )
        return self

    @model_validator(mode="after")
    def _mixtures_have_what_they_need(self) -> "Recipe":
        domains = {source.domain for source in self.corpus.sources}
        for name, rule in self.mixtures.items():
            params = self.mixing(name)
            if params.moves_in and not self.corpus.reserve:
                raise ValueError(f"mixtures.{name} swaps rows in; name the pool in corpus.reserve")
            if isinstance(rule, Prune) and rule.by != "correct" and self.queries.objective != "changed":
                raise ValueError(
                    f"mixtures.{name} prunes by {rule.by}, but queries.objective is "
                    f"{self.queries.objective}; harm is measured on what fine-tuning lost, so ask for "
                    "`changed`, or prune by correct"
                )
            if isinstance(rule, Identity) and not params.by_influence:
                raise ValueError(f"mixtures.{name} copies an arm that no influence decides; leave it out")
            if isinstance(rule, Only) and (unknown := sorted({*rule.domains} - domains)):
                raise ValueError(f"mixtures.{name} names domains {unknown}; the corpus has {sorted(domains)}")
        return self

    @model_validator(mode="after")
    def _adapters_are_there(self) -> "Recipe":
        varied = None if self.robustness is None else self.robustness.modules
        for field, modules in (("factors", self.factors.modules), ("robustness", varied)):
            if modules is not None and names_adapters(modules) and self.train.lora is None:
                raise ValueError(
                    f"{field}.modules is {modules!r}, adapters, but none train; give train.lora or name "
                    "modules of the model"
                )
        return self

    @model_validator(mode="after")
    def _gradients_have_one_length(self) -> "Recipe":
        asked = () if self.robustness is None else self.robustness.gradients
        if "unit_norm" in asked and self.train.on_the_way is not None:
            raise ValueError(
                "robustness.gradients asks for unit_norm, and a row has a gradient after each of "
                "train.scored_after; leave one of both out"
            )
        return self

    @model_validator(mode="after")
    def _spans_are_there(self) -> "Recipe":
        edits = [name for name in self.mixtures if isinstance(self.mixing(name).copied, Spans | Ablate)]
        wanted = [f"mixtures.{name} edits spans" for name in edits]
        if self.index is not None and self.index.level == "span":
            wanted.append("index.level is span")
        if self.validity is not None and self.validity.ablated:
            wanted.append("validity.ablated takes spans away")
        if wanted and self.scores.spans is None:
            raise ValueError(f"{wanted[0]}, and responses have none; give scores.spans")
        return self

    @model_validator(mode="before")
    @classmethod
    def _said_once(cls, given: Any) -> Any:
        # Every section's seed is derived from the recipe's, by name; a section may not bring its own.
        if not isinstance(given, dict) or not isinstance(given.get("seed"), int):
            return given
        seeded = dict(given)
        if isinstance(factors := given.get("factors"), dict) and "after" in factors:
            raise ValueError("factors.after: a recipe says it for scores too; give train.scored_after")
        for section in ("queries", "factors", "evaluate"):
            value = given.get(section, {})
            if isinstance(value, dict):
                if "seed" in value:
                    raise ValueError(f"{section}.seed: a recipe has one seed, at its top; remove this one")
                seeded[section] = {**value, "seed": derive_seed(given["seed"], section)}
        return seeded

    def _rules(self) -> list[str]:
        return [name for name, rule in self.mixtures.items() if not isinstance(rule, Control | KeepAll)]

    def copied_by(self, arm: str) -> str | None:
        """Return the arm that a control copies: the one it names, or the only rule; None for other arms."""
        rule, rules = self.mixtures.get(arm), self._rules()
        if not isinstance(rule, Control):
            return None
        return rule.like or (rules[0] if len(rules) == 1 else None)

    def mixing(self, arm: str) -> MixParams:
        """Return what makes the mixture of an arm; `keep_all`, the untouched corpus, is always one."""
        rule = self.mixtures.get(arm, KeepAll(kind="keep_all"))
        return self.mixing_by(rule, self.mixtures.get(self.copied_by(arm) or ""))

    def mixing_by(self, rule: MixtureRule, like: MixtureRule | None = None) -> MixParams:
        """Return what makes a mixture by a rule, or by a control of the rule `like`."""
        copied = like or rule
        is_of_words = isinstance(copied, Ablate) and copied.token_classes is not None
        families = {
            source.name: source.family
            for source in (*self.corpus.sources, *self.corpus.reserve)
            if source.family is not None
        }
        return MixParams.model_validate({
            "rule": rule,
            "like": like,
            "spans": self.scores.spans if isinstance(copied, Spans) or is_of_words else None,
            "families": families or None,
            "seed": self.seed,
        })

    def require_validity(self) -> ValidityParams:
        """Return how the scores are put to the test.

        Raises
        ------
        RequestError
            If the recipe does not say.
        """
        if self.validity is None:
            raise RequestError(
                f"recipe {self.name} has no section validity, which says on how many subsets to retrain; "
                "add one, such as `validity: {subsets: {random: 64}}`"
            )
        return self.validity

    def require_index(self) -> IndexParams:
        """Return what is kept of every gradient.

        Raises
        ------
        RequestError
            If the recipe does not say.
        """
        if self.index is None:
            raise RequestError(
                f"recipe {self.name} has no section index, which says what is kept of gradients; add one, "
                "such as `index: {coordinates: 1024}`"
            )
        return self.index

    def placeless(self) -> "Recipe":
        """Return what a mixture and its report hang on: not where files are, nor what else scores are for."""

        def without(sources: tuple[Source, ...]) -> tuple[Source, ...]:
            return tuple(source.placeless() for source in sources)

        corpus = {"sources": without(self.corpus.sources), "reserve": without(self.corpus.reserve)}
        return self.model_copy(
            update={
                "base": self.base.model_copy(update={"sources": without(self.base.sources)}),
                "corpus": self.corpus.model_copy(update=corpus),
                "benchmarks": {name: given.placeless() for name, given in self.benchmarks.items()},
                "validity": None,
                "refit": None,  # the model that was kept is an input by itself
                "index": None,
                "ask": None,
            }
        )

    def reused_questions(self) -> tuple[str, ...]:
        """Return the tasks that are both queried and examined, in the order of the exam."""
        return tuple(task for task in self.evaluate.tasks if task in self.queries.tasks)

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read and check a recipe file.

        Raises
        ------
        RequestError
            Naming the file and every field that is missing, unknown or out of range, by its path.
        """
        try:
            return cls.model_validate(read(path))
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'recipe'}: {fault['msg']}" for fault in error.errors()
            )
            raise RequestError(f"recipe {path}: {in_a_line(faults)}") from error
