"""Rows made on the spot: ``made://procedure?option=value&…``. The same address gives the same rows.

Every procedure takes `rows`, and most take `seed` and `split`. Splits of one procedure (base, train, reserve,
query, exam) never share a problem, whatever their seeds: the hash of a problem says which split it is in.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from infra_core.errors import RequestError
from infra_core.sources import made_published, made_tiny, made_words


@dataclass(frozen=True, slots=True)
class Procedure:
    """A way to make rows. Raise `version` when it makes other rows than before for the same options."""

    version: int
    make: Callable[..., Iterator[dict[str, Any]]]


MADE: dict[str, Procedure] = {
    "tiny_math": Procedure(1, made_tiny.tiny_math),
    "tiny_code": Procedure(1, made_tiny.tiny_code),
    "tiny_thoughts": Procedure(1, made_tiny.tiny_thoughts),
    "gsm_symbolic": Procedure(1, made_words.gsm_symbolic),
    "list_programs": Procedure(1, made_words.list_programs),
    "humaneval": Procedure(1, made_published.humaneval),
    "standin_bespoke_stratos": Procedure(1, made_published.bespoke_stratos),
    "standin_openr1_math": Procedure(1, made_published.openr1_math),
    "standin_open_code_reasoning": Procedure(1, made_published.open_code_reasoning),
    "standin_aime": Procedure(1, made_published.aime),
    "standin_livecodebench": Procedure(1, made_published.livecodebench),
    "standin_limo": Procedure(1, made_published.limo),
    "standin_amc": Procedure(1, made_published.amc),
    "standin_olympiadbench": Procedure(1, made_published.olympiadbench),
    "standin_gpqa": Procedure(1, made_published.gpqa),
    "standin_gsm8k": Procedure(1, made_published.gsm8k),
    "standin_mbpp": Procedure(1, made_published.mbpp),
}


def made_rows(uri: str) -> Iterator[dict[str, Any]]:
    r"""Return the rows of a ``made://`` address, one by one.

    Raises
    ------
    RequestError
        If there is no such procedure or option, or it asks for more rows than the procedure has.

    Examples
    --------
    >>> row = next(made_rows("made://tiny_math?rows=5&levels=1-1"))
    >>> print(row["problem"], row["solution"], sep="\n")
    84-73=?
    84-73: 4-3=1, 8-7=1
    #### 11
    """
    procedure, options = _read(uri)
    return procedure.make(**options)


def made_fingerprint(uri: str) -> str:
    """Return what identifies the rows: a hash of the procedure, its version and all its options.

    Examples
    --------
    >>> made_fingerprint("made://tiny_math?rows=5&seed=0") == made_fingerprint("made://tiny_math?seed=0&rows=5")
    True
    """
    procedure, options = _read(uri)
    text = f"{_name(uri)}/v{procedure.version}?{urlencode(sorted(options.items()))}"
    return hashlib.sha256(text.encode()).hexdigest()


def _name(uri: str) -> str:
    return uri.removeprefix("made://").partition("?")[0]


def _read(uri: str) -> tuple[Procedure, dict[str, Any]]:
    procedure = MADE.get(_name(uri))
    if procedure is None:
        raise RequestError(f"{uri!r}: there is no procedure {_name(uri)!r}; there are {sorted(MADE)}")
    known = inspect.signature(procedure.make).parameters
    options = {
        name: known[name].default for name in known if known[name].default is not inspect.Parameter.empty
    }
    for name, value in parse_qsl(uri.partition("?")[2], keep_blank_values=True):
        if name not in known:
            raise RequestError(f"{uri!r}: {_name(uri)} has no option {name!r}; it has {sorted(known)}")
        options[name] = _value(uri, name, value, known[name].annotation)
    if missing := sorted(known.keys() - options.keys()):
        raise RequestError(f"{uri!r}: {_name(uri)} needs {missing}; write them as ?name=value&…")
    return procedure, options


def _value(uri: str, name: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise RequestError(f"{uri!r}: {name}={text!r} is no {kind.__name__}") from error
