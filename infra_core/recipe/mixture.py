"""Mixture rules: what leaves the corpus, what comes in, what counts more; and the controls of each.

A rule decides by difficulty or by influence. A control copies the size of another arm, named in `like`, and
decides by something else. Both are kinds of one union, so that a recipe lists them side by side.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from infra_core.recipe.params import Count, Fraction, Name, Params

Band = Literal["easy", "medium", "hard"]
Match = Literal["rows", "tokens"]
Held = Literal["source", "length"]
Toward = Literal["own", "all"]
"""Whose queries a row is to help: those of its own domain, or all."""

Behaviour = Literal[
    "restatement", "plan", "computation", "verification", "backtracking", "alternative", "exploration",
    "final_answer", "other", "fence", "comment", "import", "definition", "loop", "branch", "return",
    "assignment", "call",
]  # fmt: skip
"""What a span does, as docs/behaviours.md defines it."""

TokenClass = Literal["connector", "operator", "latex", "keyword", "syntax", "identifier", "other"]
"""What a word is, as docs/attributes.md defines it."""

Label = Literal[Behaviour, TokenClass]
"""What a span does, or what a word is."""


def is_behaviour(label: str) -> bool:
    """Whether a label is of spans; else it is of words."""
    return label in get_args(Behaviour)


PAPER_DIRECTIONS: dict[str, tuple[Band, Band]] = {"math": ("easy", "hard"), "code": ("hard", "easy")}


class KeepAll(Params):
    """The corpus as it is, without what the screen dropped."""

    kind: Literal["keep_all"]


class Flip(Params):
    """Easy maths → harder maths, hard code → easier code (Kou et al. 2025, arXiv:2505.19949).

    `directions` says per domain which band leaves and which comes in from the reserve. If they are
    ``measured``, they are read from influence by band and domain, and a domain where that is not clear stays.
    """

    kind: Literal["flip"]
    match: Match
    directions: dict[Name, tuple[Band, Band]] | Literal["measured"] = Field(
        default_factory=lambda: dict(PAPER_DIRECTIONS)
    )
    fraction: Fraction = 1.0  # of the leaving cell
    budget: Count | None = None  # rows or tokens, as `match` says, that may leave a domain; none: all of them
    hold: tuple[Held, ...] | None = None  # what comes in is like what leaves in this, where it can be
    toward: Toward | None = None  # measured directions: own by default


class Prune(Params):
    """Drop the rows that influence says are worth least (Humane et al. 2025, arXiv:2510.06108).

    A row must fail by score and by rank. ``correct`` looks at the benefit to what the model gets right,
    ``incorrect`` at the harm: how much likelier a row makes the answers that fine-tuning lost.
    """

    kind: Literal["prune"]
    by: Literal["correct", "incorrect", "combined"]
    fraction: Fraction  # of rows
    toward: Toward = "all"


class Select(Params):
    """Take the rows with the most influence until the corpus is as large as it was, or a fraction of it.

    `spread` keeps one kind of row from taking all: query groups choose in turn (``round_robin``), or more of
    the same counts for less (``coverage``). ``sum`` adds groups up.
    """

    kind: Literal["select"]
    match: Match
    pool: Literal["corpus", "both"]  # both: also from the reserve
    fraction: Fraction = 1.0  # of the corpus rows or tokens of each domain
    spread: Literal["sum", "round_robin", "coverage"] = "round_robin"
    toward: Toward = "all"


class Weigh(Params):
    """Weigh rows in place of swapping them; the tokens of a domain count as much as before.

    By ``influence``: the most helpful row of a domain counts 1 + `strength`, the least 1 − `strength`. By
    ``directions``: the band that would leave counts 1 − `strength`, the one that would come in as much more.
    """

    kind: Literal["weigh"]
    by: Literal["influence", "directions"]
    strength: Fraction
    directions: dict[Name, tuple[Band, Band]] = Field(default_factory=lambda: dict(PAPER_DIRECTIONS))
    toward: Toward = "all"


class Spans(Params):
    """Leave the most harmful spans of responses out of the loss (``mask``), or out of the text (``drop``).

    The last span of a response, which holds its answer, is never touched, nor is code dropped.
    """

    kind: Literal["spans"]
    action: Literal["mask", "drop"]
    fraction: Fraction  # of response tokens, at most: only harmful spans go
    toward: Toward = "all"


class Ablate(Params):
    """Take spans by what they do, or words by class, out of the loss (``mask``) or the text (``drop``).

    As with `Spans`, the last span of a response is never touched, nor is code dropped.
    """

    kind: Literal["ablate"]
    behaviours: Annotated[tuple[Behaviour, ...], Field(min_length=1)] | None = None  # of spans
    token_classes: Annotated[tuple[TokenClass, ...], Field(min_length=1)] | None = None  # of words
    action: Literal["mask", "drop"]

    @model_validator(mode="after")
    def _one_of_the_two(self) -> "Ablate":
        if (self.behaviours is None) == (self.token_classes is None):
            raise ValueError(
                "an ablation is of spans by behaviours, or of words by token_classes; give one of the two"
            )
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """What goes."""
        return self.behaviours or self.token_classes or ()

    @classmethod
    def masking(cls, label: Label) -> "Ablate":
        """Return the rule that takes one label out of the loss."""
        kind = "behaviours" if is_behaviour(label) else "token_classes"
        return cls.model_validate({"kind": "ablate", kind: (label,), "action": "mask"})


class Control(Params):
    """What all controls share: they are as large as the arm `like`, which may be left out if there is one."""

    like: Name | None = None
    match: Match | None = None  # by default as that arm; tokens where it has none


class Random(Control):
    """As much, drawn at random."""

    kind: Literal["random"]


class Reverse(Control):
    """The same rule turned round: directions swapped, helpful taken for harmful."""

    kind: Literal["reverse"]


class Only(Control):
    """The same in some domains; the others stay as they are."""

    kind: Literal["only"]
    domains: Annotated[tuple[Name, ...], Field(min_length=1)]


class LengthMatched(Control):
    """Random rows, as long as those that the copied arm moves."""

    kind: Literal["length_matched"]


class Perplexity(Control):
    """Rows of middling or of high perplexity under the model before fine-tuning."""

    kind: Literal["perplexity"]
    keep: Literal["mid", "top"]


class Rds(Control):
    """RDS+: rows whose embedding is near those of queries, which choose in turn (arXiv:2503.01807)."""

    kind: Literal["rds"]


class Identity(Control):
    """The same rule by influence with identity curvature: plain products of gradients."""

    kind: Literal["identity"]


Rule = Flip | Prune | Select | Weigh | Spans | Ablate
AnyControl = Random | Reverse | Only | LengthMatched | Perplexity | Rds | Identity
MixtureRule = Annotated[KeepAll | Rule | AnyControl, Field(discriminator="kind")]

_TURNABLE = frozenset({"flip", "prune", "select", "weigh", "spans"})
COPIES: Mapping[str, frozenset[str]] = {
    "random": _TURNABLE | {"ablate"},
    "reverse": _TURNABLE,
    "only": _TURNABLE | {"ablate"},
    "length_matched": frozenset({"flip", "prune"}),
    "perplexity": frozenset({"flip", "prune", "select"}),
    "rds": frozenset({"flip", "prune", "select"}),
    "identity": _TURNABLE,
}
"""Kind of control → kinds of rules that it can copy."""

EvidenceKind = Literal[
    "scores", "reserve_scores", "identity", "reserve_identity", "perplexity", "reserve_perplexity",
    "nearness", "reserve_nearness", "queries", "tokenizer", "behaviours", "token_classes",
]  # fmt: skip
"""What a rule may want to know beside difficulty, length and verdicts of the screen."""


class MixParams(Params):
    """A mixture rule, whatever it copies, and the seed of its ties and draws."""

    rule: MixtureRule
    like: Annotated[Rule, Field(discriminator="kind")] | None = None  # the rule that a control copies
    spans: Literal["lines", "sentences"] | None = None  # how responses were divided when they were scored
    families: dict[Name, Name] | None = None  # source → collection, for sources that are of one
    seed: int

    @property
    def copied(self) -> Rule | None:
        """The rule itself, or the one that a control copies; None for the untouched corpus."""
        match self.rule:
            case Control():
                return self.like
            case KeepAll():
                return None
            case rule:
                return rule

    @property
    def moves_in(self) -> bool:
        """Whether rows of the reserve come in."""
        rule = self.copied
        return isinstance(rule, Flip) or (isinstance(rule, Select) and rule.pool == "both")

    @property
    def by_influence(self) -> bool:
        """Whether the rule, or what is copied, looks at influence."""
        match self.copied:
            case Flip() as rule:
                return rule.directions == "measured"
            case Weigh() as rule:
                return rule.by == "influence"
            case None | Ablate():
                return False
            case _:
                return True

    @property
    def evidence(self) -> frozenset[EvidenceKind]:
        """What must be known before this rule can be applied, beside what every rule knows."""
        wanted: set[EvidenceKind] = set()
        rule, copied = self.rule, self.copied
        if self.by_influence:
            plain = isinstance(rule, Identity)
            wanted.add("identity" if plain else "scores")
            if isinstance(copied, Select) and self.moves_in:
                wanted.add("reserve_identity" if plain else "reserve_scores")
        if isinstance(rule, Perplexity):
            wanted |= {"perplexity", "reserve_perplexity"} if self.moves_in else {"perplexity"}
        if isinstance(rule, Rds):
            wanted |= {"nearness", "queries"}
            if self.moves_in:
                wanted.add("reserve_nearness")
        if isinstance(copied, Spans):
            wanted.add("tokenizer")
        if isinstance(copied, Ablate):
            wanted |= {"behaviours"} if copied.behaviours else {"token_classes", "tokenizer"}
        return frozenset(wanted)
