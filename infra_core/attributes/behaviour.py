"""What a span of a response does: `behaviours`, by rules in one table. Defined in docs/behaviours.md."""

import re
from collections.abc import Sequence

from infra_core.attributes.right_answer import first_right

Piece = tuple[str, str]
"""Kind (text or code, as `segment` says) and text of a span."""

EXPLORATION, FINAL, RESTATED, COMPUTED = "exploration", "final_answer", "restatement", "computation"

_RULES = {
    "other": (
        r"^\W*(?:ok(?:ay)?|h+m+|alright|right|well|nice|great|good|interesting)\b[^\d=]{0,40}$",
        r"^\W*let me (?:think|see)\b[^\d=]{0,40}$",
    ),
    FINAL: (
        r"\\boxed\b",
        r"^\W*####",
        r"\banswer\b\W{0,4}(?:is|:|=)",
        r"^\W*(?:the |my )?(?:final )?answer\b",
    ),
    "backtracking": (
        r"^\W*(?:wait|hold on|oops|no\b|actually|scratch that|never ?mind|on second thought)",
        r"\b(?:not (?:right|correct)|(?:is|was|were|went) wrong|incorrect|mistake|start over)\b",
        r"\b(?:let me re(?:do|consider|think)|dead end|contradict\w*|give up)\b",
        r"\b(?:does not|doesn't|did not|didn't|won't|will not) work\b",
    ),
    "verification": (
        r"\b(?:double-?check|check(?:s|ing|ed)?|verif(?:y|ies|ied|ying|ication)|confirm\w*|sanity)\b",
        r"\b(?:test(?:s|ing)?|plug(?:ging)? .{0,20}\bin|substitut\w+ back|trace (?:it|through))\b",
        r"\b(?:mak(?:e|es) sense|consistent|as (?:expected|it should)|indeed|match(?:es)?|agrees?)\b",
    ),
    "alternative": (
        r"^\W*alternative(?:ly)?\b",
        r"\b(?:another|a different|an alternative|(?:the )?other) (?:way|approach|method|idea)\b",
        r"\b(?:could|can|might) also\b",
        r"^\W*or (?:we|one|i) c(?:an|ould)\b",
    ),
    "plan": (
        r"^\W*(?:first|next|then|now),? (?:i|we|let|find|compute|the)\b",
        r"\b(?:let(?:'s| us)|i(?:'ll| will|'d| would)|we(?:'ll| will)|going to)\b",
        r"\b(?:we|i) (?:need|have|want|should|must|can|could)\b",
        r"\bthe (?:plan|idea|approach|strategy)\b",
    ),
    RESTATED: (
        r"\b(?:is|are|was|were) (?:given|asked|told|looking)\b",
        r"\b(?:question|problem|task|statement|input) (?:is|asks|says|gives)\b",
        r"\b(?:asked (?:for|to)|let \w+ (?:be|denote)|in other words|we (?:want|look))\b",
    ),
}
"""Behaviour → what tells it, tried in this order; what nothing tells is a computation."""

RULES = {name: re.compile("|".join(signs), re.IGNORECASE) for name, signs in _RULES.items()}

_CONSTRUCTS = {
    "fence": r"`{3,}|~{3,}",
    "comment": r"#(?!include)|//|/\*|\*",
    "import": r"import\b|from\s+\S+\s+import\b|#include\b|using\b|package\b",
    "definition": r"@|(?:async\s+def|def|class|fn|func(?:tion)?|struct|interface|public|private|static)\b",
    "loop": r"(?:async\s+)?for\b|while\b|do\b",
    "branch": r"(?:}\s*)?(?:if|elif|else|switch|case|match|default|try|except|catch|finally|with)\b",
    "return": r"(?:return|raise|throw|yield|break|continue)\b",
    "assignment": r"[^=!<>()]+=(?!=)",
}
"""Construct of a line of code → how it begins; what begins otherwise is a call."""

CONSTRUCTS = {name: re.compile(rule) for name, rule in _CONSTRUCTS.items()}
CALL = "call"

OVERTAKEN = {"plan", COMPUTED, "other"}
"""What is exploration once the right answer was there."""

SAID_BEFORE = 0.6  # share of a span's words and numbers that the prompt has too, from which it restates
OPENING = 3  # spans of text that may restate by words alone


def behaviours(prompt: str, spans: Sequence[Piece], answer: str | None) -> list[str]:
    r"""Return what each span of a response does.

    Text goes by the first rule that fits, restatement in the opening by the words it shares with the prompt.
    The last span of text hands over the result, whatever its words. What would be plan, computation or other
    is exploration in spans after the one in which the right answer first was the result.

    Parameters
    ----------
    prompt
        Of the example.
    spans
        Kind and text of each, in order.
    answer
        The right one; without it nothing is exploration.

    Examples
    --------
    >>> behaviours("3 + 4?", [("text", "3 + 4 = 7. "), ("text", "Or 1 + 6. "), ("text", "#### 7")], "7")
    ['computation', 'exploration', 'final_answer']
    >>> behaviours("Sort.", [("code", "import sys\n"), ("code", "x = 1\n"), ("code", "print(x)\n")], None)
    ['import', 'assignment', 'call']
    """
    words = _words(prompt)
    text = [number for number, (kind, _) in enumerate(spans) if kind != "code"]
    opening = set(text[:OPENING])
    found = [
        _construct(span) if kind == "code" else _behaviour(span, words, opening=number in opening)
        for number, (kind, span) in enumerate(spans)
    ]
    right = first_right([spans[number][1] for number in text], answer) if text else None
    if right is not None:
        for number in text[right + 1 :]:
            found[number] = EXPLORATION if found[number] in OVERTAKEN else found[number]
    if text and text[-1] > 0:
        found[text[-1]] = FINAL
    return found


def _behaviour(span: str, prompt: set[str], *, opening: bool) -> str:
    for name, rule in RULES.items():
        if rule.search(span):
            return name
    return RESTATED if opening and _says_again(_words(span), prompt) else COMPUTED


def _says_again(own: set[str], prompt: set[str]) -> bool:
    """Whether words are mostly those of the prompt, and no number is new."""
    new = own - prompt
    return len(new) <= (1 - SAID_BEFORE) * len(own) and bool(own) and not any(map(str.isdecimal, new))


def _construct(line: str) -> str:
    code = line.strip()
    return next((name for name, begins in CONSTRUCTS.items() if begins.match(code)), CALL)


def _words(text: str) -> set[str]:
    """Return numbers, and words long enough to mean something."""
    return set(re.findall(r"\d+|[^\W\d_]{4,}", text.lower()))
