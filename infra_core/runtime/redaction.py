"""Secrets of this process's environment, kept out of what it tells: their names stand where they would.

Nothing here means to tell one. But libraries quote what they were given in errors and logs, and a run's log
is open to whoever reaches the server.
"""

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

NAMED = re.compile(
    r".*(SECRET|TOKEN|PASSWORD|_KEY|_KEY_ID|CONNECTION_STRING|CONNECTION_URL|AUTH_STRING)", re.IGNORECASE
)
"""How variables are called that hold one; paths of files that hold one are called otherwise."""

SHORTEST = 8
"""Characters of a secret. What is shorter is a word that may stand anywhere."""


def redacted(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text with the variable's name in place of every secret that the environment holds.

    Examples
    --------
    >>> redacted("401 for hf_abcdefgh", {"HF_TOKEN": "hf_abcdefgh", "HOME": "/root/401"})
    '401 for <HF_TOKEN>'
    """
    held = {
        value: name
        for name, value in environment.items()
        if len(value) >= SHORTEST and value in text and NAMED.fullmatch(name)
    }
    for value in sorted(held, key=len, reverse=True):  # one may be part of another
        text = text.replace(value, f"<{held[value]}>")
    return text


class _Redacted(logging.LogRecord):
    """A record whose message and traceback tell no secret, whatever handler formats it."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if self.exc_info:
            self.exc_text = redacted(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:
        """Return the message, formatted."""
        return redacted(super().getMessage())


def redact_logs() -> None:
    """Make every log record of this process, whoever logs it, one that tells no secret."""
    logging.setLogRecordFactory(_Redacted)
