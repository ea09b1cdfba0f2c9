"""What filesystems raise, in words."""

import errno
import sys
from functools import lru_cache

import fsspec

from infra_core.errors import StoreError, UnreachableError

_MAY_PASS = {
    errno.EIO, errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE, errno.EPIPE, errno.ENETUNREACH,
    errno.EHOSTUNREACH,
}  # fmt: skip
"""Also what s3fs makes of answers such as 500 and 503."""

_PROBE = {"connect_timeout": 3, "read_timeout": 10, "retries": {"mode": "standard", "max_attempts": 2}}


def transport_errors() -> tuple[type[Exception], ...]:
    """What filesystems raise when they cannot be reached; asked late, as their libraries load late."""
    known: tuple[type[Exception], ...] = (OSError,)
    for module, names in (
        ("botocore.exceptions", ("BotoCoreError", "ClientError")),
        ("google.auth.exceptions", ("GoogleAuthError",)),
        ("azure.core.exceptions", ("AzureError",)),
    ):
        if module in sys.modules:
            known += tuple(getattr(sys.modules[module], name) for name in names)
    return known


def is_conflict(error: Exception) -> bool:
    """Whether `error` says that the condition of a conditional write did not hold."""
    if getattr(error, "errno", None) not in {errno.EINVAL, None}:
        return False
    return any(
        mark in str(error).lower()
        for mark in ("precondition", "pre-condition", "conditionalrequestconflict", "412")
    )


@lru_cache(maxsize=64)
def reach_bucket(bucket: str) -> None:
    """Ask once a process, and with little patience, whether the bucket answers.

    Raises
    ------
    StoreError
        If it does not, within seconds.
    """
    fs = fsspec.filesystem("s3", config_kwargs=_PROBE, skip_instance_cache=True)
    fs.retries = 1  # s3fs's own, around those of botocore
    try:
        fs.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError as error:
        raise StoreError(f"there is no bucket s3://{bucket}; create it or give another store") from error
    except transport_errors() as error:
        told = failure_of(f"the bucket s3://{bucket} cannot be reached", error)
        raise told from error


def failure_of(what: str, error: Exception) -> StoreError:
    """Return the error to raise for what a filesystem raised: of its own kind where trying again may help."""
    passing = isinstance(error, (ConnectionError, TimeoutError)) or getattr(error, "errno", None) in _MAY_PASS
    if "botocore.exceptions" in sys.modules:
        known = sys.modules["botocore.exceptions"]
        passing = passing or isinstance(error, (known.ConnectionError, known.HTTPClientError))
    return (UnreachableError if passing else StoreError)(f"{what}: {in_words(error)}")


def in_words(error: Exception) -> str:
    """What happened and what to do, in one line."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    match error:
        case PermissionError():
            return (
                f"permission denied ({text}); check the rights of the folder or of the credentials, and this "
                "machine's clock if it is an object store"
            )
        case NotADirectoryError() | FileExistsError():
            return f"a file is where a folder should be ({text}); move it or give another store"
        case FileNotFoundError():
            return f"no such place ({text}); create it or give another store"
        case OSError(errno=errno.ENOSPC):
            return f"the disk is full ({text}); free some space and run again: what is whole is kept"
    return f"{text}; check that the store's address, network and credentials are right, then run again"
