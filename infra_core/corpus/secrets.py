"""Secrets and addresses of people in a text: API keys, private keys, passwords in URLs, e-mail addresses.

A table of published token formats, each told by its prefix and length, so that next to nothing else matches:
no guessing by entropy, which takes hashes in puzzles for keys. (Presidio needs a language model for every
row; detect-secrets has had no release since May 2024 and knows no token of a hub.)
"""

import re
from collections.abc import Mapping

_KEY = r"(?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
_KEYS = (
    # OpenAI, Anthropic, OpenRouter
    r"\bsk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]+-|or-v1-)?[A-Za-z0-9_-]{32,}",
    r"\bhf_[A-Za-z]{34}\b",  # Hugging Face
    r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{82}\b",
    r"\bglpat-[A-Za-z0-9_-]{20}\b",  # GitLab
    r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",  # AWS
    r"\bAIza[A-Za-z0-9_-]{35}",  # Google
    r"\bxox[abposr]-[A-Za-z0-9-]{10,}",  # Slack
    r"\b[sr]k_live_[A-Za-z0-9]{24,}\b",  # Stripe
    r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b",  # SendGrid
    r"\bnpm_[A-Za-z0-9]{36}\b|\bpypi-AgE[A-Za-z0-9_-]{50,}",
    r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",  # JSON Web Token
)
PATTERNS: Mapping[str, str] = {
    "private key": rf"-----BEGIN {_KEY}[\s\S]*?(?:-----END {_KEY}|\Z)",
    "api key": "|".join(_KEYS),
    "password": r"(?<=://)[^\s:/@]+:[^\s:/@]{3,}(?=@[\w.-]+)",  # user and password in a URL
    "email": r"\b[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b",
}
"""Kind → how it is written; of two that overlap the earlier one counts."""

SECRET = re.compile("|".join(f"(?P<{kind.replace(' ', '_')}>{text})" for kind, text in PATTERNS.items()))
NOBODY = re.compile(
    r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|example|test|invalid|localhost)$", re.IGNORECASE
)
"""Addresses under domains that are reserved for examples."""
TELLTALE = re.compile(
    r"@|PRIVATE KEY|sk-|hf_|gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|AIza|xox|k_live_|SG\.|npm_|pypi-|eyJ"
)
"""Without one of these there is no secret: a look that costs nearly nothing."""


def secrets(text: str, *, known: str = "") -> list[tuple[str, str]]:
    """Return (kind, text) of every secret in a text, in order.

    Parameters
    ----------
    text
        Where to look.
    known
        What may stand there: a secret that is in here too belongs to the problem.

    Examples
    --------
    >>> secrets("mail bob@acme.io or ann@example.com")
    [('email', 'bob@acme.io')]
    """
    if not TELLTALE.search(text):
        return []
    found = ((str(match.lastgroup).replace("_", " "), match[0]) for match in SECRET.finditer(text))
    return [
        (kind, secret)
        for kind, secret in found
        if not (kind == "email" and NOBODY.search(secret)) and not (known and secret in known)
    ]


def masked(text: str, *, known: str = "") -> str:
    """Return a text with its kind in place of every secret.

    Examples
    --------
    >>> masked("write to bob@acme.io")
    'write to <email>'
    """
    for kind, secret in secrets(text, known=known):
        text = text.replace(secret, f"<{kind}>")
    return text
