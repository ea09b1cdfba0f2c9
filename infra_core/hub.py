"""A hub that models and rows come from: what is fetched of it, how patiently, and its refusals in words.

`huggingface_hub` waits and asks again by itself nearly everywhere: after 429, 5xx and broken connections,
as long as ``Retry-After`` says, and for a file from its last whole 10 MiB on. `patiently` adds what it leaves
out: facts about a repository, a file that answers 5xx, a connection that is reset. Files that are whole stay
in its cache; a process that is killed loses those it was at.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from infra_core.errors import DataError, RequestError

Result = TypeVar("Result")

COMMIT = re.compile(r"[0-9a-f]{40}")
CONFIG = ("config.json",)
WHOLE_MODEL = (*CONFIG, "*.json", "*.jinja", "*.model", "*.txt", "model*.safetensors")
"""What a model is read from. No pickles and no code; what else lies there may be many times as large."""

_PASSING = {408, 429, 500, 502, 503, 504}
_ATTEMPTS = 4
_LONGEST = 300.0  # seconds; a hub counts requests in windows of five minutes
_AGAIN = "run again: what is whole is kept"


def is_name(text: str) -> bool:
    """Whether a hub could have something of this name, ``org/name``."""
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return "/" in text


def model_folder(model: str, revision: str, files: Iterable[str] = WHOLE_MODEL) -> Path:
    """Return the folder of the cache that holds a model at a commit; what is in it is not asked for again.

    Parameters
    ----------
    model
        ``org/name``.
    revision
        The commit.
    files
        Patterns of the names to have; of files in subfolders only templates are taken.

    Raises
    ------
    RequestError
        If the revision is no commit.
    DataError
        If the hub refuses, does not have it, or cannot be reached.
    """
    if not COMMIT.fullmatch(revision):
        raise RequestError(
            f"model {model!r} (base.model of the recipe) has revision {revision!r}, which can move; pin the "
            "commit, 40 hexadecimal digits (the model's page, Files, History)"
        )
    patterns = list(files)
    below = [f"*/{pattern}" for pattern in patterns if not pattern.endswith(".jinja")]
    what = f"model {model} at revision {revision} (base.model of the recipe)"

    def fetch() -> str:
        return snapshot_download(model, revision=revision, allow_patterns=patterns, ignore_patterns=below)

    try:
        with answering(what):
            return Path(patiently(fetch))
    except (OSError, RuntimeError) as error:  # the disk; Xet, which repeats by itself what may pass
        raise DataError(
            f"{what} cannot be fetched ({' '.join(str(error).split())[:300]}); {_AGAIN}"
        ) from error


def push_dataset(name: str, files: Mapping[str, Path]) -> str:
    """Commit files to a data set of the hub, which is made if it is not there, and return its address.

    Parameters
    ----------
    name
        ``org/name``.
    files
        Name in the data set → local file.

    Raises
    ------
    RequestError
        If the name is none.
    DataError
        If the hub refuses or cannot be reached.
    """
    if not is_name(name):
        raise RequestError(f"hf://datasets/{name} names no data set; write hf://datasets/org/name")
    hub = HfApi()
    with answering(f"data set {name}"):
        patiently(lambda: hub.create_repo(name, repo_type="dataset", exist_ok=True))
        hub.create_commit(
            name,
            [CommitOperationAdd(path, str(local)) for path, local in files.items()],
            repo_type="dataset",
            commit_message="Published by Infra",
        )
    return f"{_endpoint()}/datasets/{name}"


def patiently(call: Callable[[], Result]) -> Result:
    """Return what `call` returns, calling again a few times where the hub may answer better later."""
    return Retrying(
        retry=retry_if_exception(_passes), wait=_pause, stop=stop_after_attempt(_ATTEMPTS), reraise=True
    )(call)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn what the hub answers instead of `what` into one sentence; other errors pass.

    Raises
    ------
    DataError
        Saying what the hub answered and what to do.
    """
    try:
        yield
    except Exception as error:
        answer = _answer(error)
        if answer is None:
            raise
        raise DataError(f"{what}: {_in_words(answer)}") from error


def _answer(error: BaseException | None) -> Exception | None:
    """Return what the hub, or the way to it, said: its client wraps that, once or twice."""
    while error is not None:
        if isinstance(error, (httpx2.HTTPError, OfflineModeIsEnabled)):
            return error
        error = error.__cause__ or error.__context__
    return None


def _passes(error: BaseException) -> bool:
    match _answer(error):
        case HfHubHTTPError(response=response):
            return response.status_code in _PASSING
        case httpx2.ConnectError() | httpx2.ProxyError():  # nobody is there: a matter of addresses
            return False
        case httpx2.TransportError():
            return True
    return False


def _pause(state: RetryCallState) -> float:
    """Return the seconds that the hub asked for, or twice as many as the last time."""
    asked = 0.0
    failed = _answer(state.outcome.exception()) if state.outcome else None
    if isinstance(failed, HfHubHTTPError):
        given = failed.response.headers.get("Retry-After", "")
        asked = float(given) if given.isdigit() else 0.0
    return min(max(asked, 2.0 ** (state.attempt_number - 1)), _LONGEST)


def _in_words(answer: Exception) -> str:
    match answer:
        case OfflineModeIsEnabled():
            return "not in the hub's cache here, and HF_HUB_OFFLINE keeps from fetching it; unset that"
        case GatedRepoError():
            return (
                f"gated; accept its terms on {_page(answer)}, then `hf auth login` with that account or set "
                f"HF_TOKEN, and {_AGAIN}"
            )
        case RevisionNotFoundError():
            return (
                f"the hub has no such revision; pin a commit of its history ({_page(answer)}, Files, History)"
            )
        case EntryNotFoundError():
            return f"no such file; {_page(answer)} lists those there are"
        case HfHubHTTPError(response=response):
            return _status(response.status_code)
    return (
        f"the hub at {_endpoint()} cannot be reached ({type(answer).__name__}: {answer}); check the network "
        f"and HF_ENDPOINT, then {_AGAIN}"
    )


def _status(code: int) -> str:
    if code in {401, 403, 404}:
        return (
            f"the hub shows no such repository ({code}): there is none, it is private, or the token given is "
            "no good; correct the name in the recipe, or log in with an account that may read it "
            "(`hf auth login`, or set HF_TOKEN)"
        )
    if code == 429:
        return f"the hub allows no more requests for now (429); wait some minutes or log in, then {_AGAIN}"
    return f"the hub answers {code}; wait until it is well, then {_AGAIN}"


def _page(answer: Exception) -> str:
    kind, name = getattr(answer, "repo_type", None), getattr(answer, "repo_id", None)
    prefix = "datasets/" if kind == "dataset" else ""
    return f"{_endpoint()}/{prefix}{name}" if name else "its page"


def _endpoint() -> str:
    """Return the hub's address without what may stand before its host: a name and a password."""
    parts = urlsplit(constants.ENDPOINT)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
