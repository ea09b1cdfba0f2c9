"""What a token is, by the text that it covers where it stands. Defined in docs/attributes.md.

A response is first divided into words, whatever its tokenizer: a name, a number, a LaTeX command, a bracket,
a line's end with the indent behind it. A token belongs to the word in which its first character that is no
blank stands. So the letters of ``because`` are all of one connector, and so is the token ``" because"``.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String
from pygments.util import ClassNotFound
from transformers import PreTrainedTokenizerBase

from infra_core.corpus.render import Offsets, response_offsets
from infra_core.corpus.schema import TOKENED
from infra_core.corpus.segment import FENCE, segment

CONNECTOR, OPERATOR, LATEX, KEYWORD, SYNTAX, IDENTIFIER, OTHER = CLASSES = (
    "connector",
    "operator",
    "latex",
    "keyword",
    "syntax",
    "identifier",
    "other",
)
LONGEST = 40  # characters that are kept of a word, such as a comment

Word = tuple[str, str]
"""Class and text."""

CONNECTORS = (
    *("as a result", "as such", "even though", "for this reason", "if and only if", "in contrast"),
    *("in other words", "it follows that", "on the contrary", "on the other hand", "so that", "such that"),
    *("accordingly", "although", "and", "as", "assume", "assuming", "because", "but", "consequently"),
    *("conversely", "either", "else", "given", "hence", "however", "if", "iff", "implies", "indeed"),
    *("instead", "let", "moreover", "namely", "neither", "nevertheless", "nor", "not", "or", "otherwise"),
    *("provided", "since", "so", "suppose", "then", "therefore", "though", "thus", "unless", "until"),
    *("when", "whenever", "whereas", "whether", "while", "yet"),
)
"""Words and phrases of prose that join one thought to another."""

_PROSE = (
    (SYNTAX, r"[^\S\n]*\n\s*|[()\[\]]"),
    (OTHER, r"[^\S\n]+|`+|\*{2,}|#+"),
    (LATEX, r"\\(?:[A-Za-z]+|.)|\${1,2}|[{}&_]|\^(?=\{)"),
    (CONNECTOR, rf"(?<!\w)(?i:{'|'.join(CONNECTORS)})(?!\w|['’-]\w)"),
    (IDENTIFIER, r"[^\W\d_]+[\d_]\w*|(?![aAI](?!\w))[^\W\d_](?![^\W\d_]|['’][^\W\d_]|-[^\W\d_]{2})"),
    (OTHER, r"[^\W\d_]+(?:['’-][^\W\d_]+)*"),
    (OPERATOR, r"\d+(?:[.,]\d+)*|[-+*/=<>^%±×÷·√∑∏∫≤≥≠≈≡→⇒∈∞]+"),
    (OTHER, r"."),
)
"""Class of a word of prose, and what it looks like; tried in this order at each place."""

PROSE = re.compile("|".join(f"({rule})" for _, rule in _PROSE), re.DOTALL)

CODE = (
    (KEYWORD, (Keyword, Operator.Word)),
    (OTHER, (Comment, String)),
    (OPERATOR, (Number, Operator)),
    (SYNTAX, (Punctuation,)),
    (IDENTIFIER, (Name,)),
)
"""Class of a word of code, and what Pygments calls it; tried in this order."""

UNFENCED = re.compile(
    r"^(?:(?:async )?def \w+\(|class \w+[(:])[^\n]*(?:\n(?:[ \t]+\S[^\n]*|[ \t]*(?=\n[ \t]+\S)))*",
    re.MULTILINE,
)
"""A function or class of Python outside a fence, with the lines that are indented beneath its first."""

LANGUAGE = "python"  # of code that does not say


def token_classes(rows: pl.DataFrame, tokenizer: PreTrainedTokenizerBase) -> pl.DataFrame:
    """Return the words of responses with the tokens that belong to each; schema TOKENED.

    The token that ends a response covers no text and is of no word.

    Parameters
    ----------
    rows
        `example_id` and `response`.
    tokenizer
        That the rows are scored with.
    """
    found: dict[str, list[Any]] = {name: [] for name in TOKENED}
    texts = rows.select("example_id", "response").iter_rows()
    for (name, text), offsets in zip(texts, response_offsets(rows, tokenizer), strict=True):
        if not len(offsets):
            continue
        classes, words = zip(*words_of(text), strict=True)
        at = _word_of_tokens(words, offsets)
        first = np.flatnonzero(np.diff(at, prepend=-1))
        found["example_id"] += [name] * len(first)
        found["token_class"] += [classes[word] for word in at[first]]
        found["word"] += [_shown(classes[word], words[word]) for word in at[first]]
        found["first"] += first.tolist()
        found["tokens"] += np.diff(first, append=len(at)).tolist()
    return pl.DataFrame(found, schema=pl.Schema(TOKENED))


def _shown(kind: str, word: str) -> str:
    return (word.lower() if kind in {CONNECTOR, OTHER} else word)[:LONGEST]


def words_of(text: str) -> list[Word]:
    r"""Divide a response into words that tile it, each with its class.

    Prose is read by one table of rules; code, fenced or recognised by its first line, by the lexer that
    Pygments has for its language.

    Examples
    --------
    >>> [word for word in words_of("So x = 12.") if word[1] != " "]
    [('connector', 'So'), ('identifier', 'x'), ('operator', '='), ('operator', '12'), ('other', '.')]
    >>> words_of("def f(x):\n return x")[-4:]
    [('syntax', '\n '), ('keyword', 'return'), ('other', ' '), ('identifier', 'x')]
    """
    found: list[Word] = []
    for language, start, stop in _regions(text):
        found += _prose(text[start:stop]) if language is None else _code(text[start:stop], language)
    return found


def _regions(text: str) -> Iterator[tuple[str | None, int, int]]:
    """Yield stretches that tile a text: prose (None), or code and its language."""
    for language, start, stop in _fenced(text):
        if language is None:
            for block in UNFENCED.finditer(text, start, stop):
                yield None, start, block.start()
                yield LANGUAGE, *block.span()
                start = block.end()
        yield language, start, stop


def _fenced(text: str) -> list[tuple[str | None, int, int]]:
    """Divide a text at its fences, which are prose themselves."""
    found: list[tuple[str | None, int, int]] = []
    inside: str | None = None
    for start, stop, kind in segment(text, "lines"):
        line = text[start:stop].lstrip()
        language = inside if kind == "code" else None
        if kind == "code" and (fence := FENCE.match(line)):
            told = line[fence.end() :].split()
            inside, language = (told[0] if told else LANGUAGE) if inside is None else None, None
        if found and found[-1][0] == language:
            start = found.pop()[1]
        found.append((language, start, stop))
    return found


def _prose(text: str) -> Iterator[Word]:
    for found in PROSE.finditer(text):
        yield _PROSE[(found.lastindex or 1) - 1][0], found[0]


def _code(text: str, language: str) -> list[Word]:
    words: list[Word] = []
    for _, kind, value in _lexer(language).get_tokens_unprocessed(text):
        blank = words.pop()[1] if value.isspace() and words and words[-1][1].isspace() else ""
        if blank + value:
            words.append((_class_of(kind, blank + value), blank + value))
    # A lexer that hands parts of a text on to others may leave some out.
    return words if "".join(word for _, word in words) == text else list(_prose(text))


def _class_of(kind: tuple[str, ...], value: str) -> str:
    if value.isspace():
        return SYNTAX if "\n" in value else OTHER
    return next((name for name, kinds in CODE if any(kind in one for one in kinds)), OTHER)


@lru_cache
def _lexer(language: str) -> Lexer:
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        return get_lexer_by_name(LANGUAGE)


def _word_of_tokens(words: Sequence[str], offsets: Offsets) -> Int[np.ndarray, " tokens"]:
    """Return which word each token belongs to, never going back."""
    stops = np.cumsum([len(word) for word in words])
    is_blank = np.array([word.isspace() for word in words])
    bounds = np.asarray(offsets)
    at = np.searchsorted(stops, np.minimum(bounds[:, 0], stops[-1] - 1), side="right")
    reaches_further = is_blank[at] & (stops[at] < bounds[:, 1])
    return np.maximum.accumulate(at + reaches_further)
