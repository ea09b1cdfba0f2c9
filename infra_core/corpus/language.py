"""Which language a text is written in, once formulas and code are taken out of it."""

import re
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)|\\[A-Za-z]+|https?://\S+|[\W\d_]+",
    re.DOTALL,
)
LETTERS = 40  # fewer say nothing
LOOKED_AT = 2000  # characters of prose
SURE = 0.9


def language(text: str) -> str | None:
    """Return the ISO 639-1 code of the language that a text is in, or None if there is too little to say.

    By py3langid, a naive Bayes model over byte n-grams with 97 languages.

    Examples
    --------
    >>> language("Let us compute the sum of all the even numbers below one hundred, step by step.")
    'en'
    >>> language("$x^2 + 1 = 0$") is None
    True
    """
    prose = NOT_PROSE.sub(" ", text[: 4 * LOOKED_AT])[:LOOKED_AT]
    # A character of Chinese says as much as several letters.
    if len(prose.encode()) - prose.count(" ") < LETTERS:
        return None
    found, probability = _identifier().classify(prose)
    return str(found) if probability >= SURE else None


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
