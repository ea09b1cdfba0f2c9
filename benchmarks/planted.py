r"""Named edits of a problem's wording: what copies of benchmark questions and duplicates look like.

All but ``renumbered`` leave the problem what it is. The random words of the last two come from the caller.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

Edit = Callable[[str, Random, Sequence[str]], str]

_VARIABLE = re.compile(r"(?<![A-Za-z\\])[b-zB-HJ-Z](?![A-Za-z])")
_MATHS = re.compile(r"\$([^$]+)\$")


def verbatim(text: str, random: Random, words: Sequence[str]) -> str:
    """Leave it as it is."""
    return text


def latex_spacing(text: str, random: Random, words: Sequence[str]) -> str:
    r"""Set formulas with ``\,``, ``\left(`` and ``\dfrac``, and break lines elsewhere."""

    def spaced(formula: re.Match[str]) -> str:
        wide = re.sub(r"([=+<>-])", r" \\, \1 \\, ", formula[1]).replace("(", r"\left( ")
        wide = wide.replace(")", r" \right)").replace("frac", "dfrac")
        return f"$ {wide} $"

    text = _MATHS.sub(spaced, text)
    return re.sub(r" (?=[a-z])", lambda _: random.choice((" ", " ", "  ", "\n", "\xa0")), text)


def renamed(text: str, random: Random, words: Sequence[str]) -> str:
    """Give every variable of one letter another name.

    Examples
    --------
    >>> renamed("Solve $2x+y=7$ for $x$.", Random(0), ())
    'Solve $2n+y=7$ for $n$.'
    """
    letters = list("bcdfghjklmnpqrstvwxyz")
    random.shuffle(letters)
    names: dict[str, str] = {}

    def other(found: re.Match[str]) -> str:
        name = names.setdefault(found[0].lower(), letters[len(names) % len(letters)])
        return name if found[0].islower() else name.upper()

    return _VARIABLE.sub(other, text)


def labelled(text: str, random: Random, words: Sequence[str]) -> str:
    """Give it another number in another book."""
    return f"Problem {random.randint(2, 60)}. {text}"


def instructed(text: str, random: Random, words: Sequence[str]) -> str:
    r"""Say how to answer, as corpora of traces do."""
    before, after = random.choice((
        (r"Return your final response within \boxed{}. ", ""),
        ("", "\nPlease reason step by step, and put your final answer within \\boxed{}."),
        ("Solve the following math problem carefully:\n\n", "\n\nAnswer:"),
    ))
    return f"{before}{text}{after}"


def renumbered(text: str, random: Random, words: Sequence[str]) -> str:
    """Change every number."""
    more = random.randint(1, 9)
    return re.sub(r"\d+", lambda number: str(int(number[0]) + more), text)


def paraphrased(text: str, random: Random, words: Sequence[str]) -> str:
    """Put other words in place of three in ten."""
    pieces = text.split(" ")
    places = [place for place, piece in enumerate(pieces) if piece.isalpha()]
    for place in random.sample(places, round(0.3 * len(places))):
        pieces[place] = random.choice(words)
    return " ".join(pieces)


def inside(text: str, random: Random, words: Sequence[str]) -> str:
    """Put it into the middle of a longer prompt."""
    before, after = (" ".join(random.choices(words, k=length)) for length in (60, 40))
    return f"Before we begin: {before}. Now to the exercise of today. {text} {after.capitalize()}."


EDITS: Mapping[str, Edit] = {
    edit.__name__: edit
    for edit in (verbatim, latex_spacing, renamed, renumbered, labelled, instructed, paraphrased, inside)
}
HELD = ("verbatim", "latex_spacing", "renamed", "renumbered")
"""Edits for which recall and precision are held against a bar; for the rest they are reported."""
