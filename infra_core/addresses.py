"""What an address must not carry."""

import re

_PASSWORD = re.compile(r"://[^/]*:[^/]*@")


def carries_password(address: str) -> bool:
    """Whether a URL has a password in it, which would come into messages, logs and pages.

    Examples
    --------
    >>> [carries_password(given) for given in ("s3://id:secret@bucket/a", "sftp://me@host:22/a", "/a:b@c")]
    [True, False, False]
    """
    return _PASSWORD.search(address) is not None
