"""Rows that are known to be bad, odd or near a query, put into a corpus to be found again by their scores."""

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from infra_core.corpus.schema import CORPUS, distinct, example_id
from infra_core.seeds import generator

TRUTH = {
    "example_id": pl.String(),
    "kind": pl.String(),
    "made_from": pl.String(),  # example_id of the row that was spoilt, query_id of the one that was copied
    "start": pl.Int32(),  # characters of the response that are noise, half open; null where all of it counts
    "stop": pl.Int32(),
}

UNUSUAL = "Slowly, and one thing after the other, since haste makes errors."
PROSE = (
    "The garden lies behind the house.", "Rain fell all night and the path is wet.",
    "Two cats sleep on the wall.", "In spring the pear tree is white.", "Nobody has mended the gate.",
    "The well is older than the village.", "At noon the bells can be heard.", "Bread is baked on Fridays.",
)  # fmt: skip
OTHER = "other"
"""Domain of planted rows that are about something else."""

Row = dict[str, Any]
Random = np.random.Generator


class Planted(NamedTuple):
    """A row, what it was made from, and which characters of its response are noise."""

    row: Row
    made_from: str
    start: int | None = None
    stop: int | None = None


def plant(
    rows: pl.DataFrame, queries: pl.DataFrame, fraction: float, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a corpus in which some rows are spoilt and some are new, and the truth about these.

    Of each kind there are `fraction` of the rows, or as many as can be made:

    - ``wrong``: the response is that of another problem of the domain, the nearest in length;
    - ``shuffled``: the lines of the response stand in another order;
    - ``noise``: one line of the response, not the last, is random letters and digits;
    - ``unusual``: the response is right, behind a line that no other has: a hard negative;
    - ``duplicate``: a new row, a query and its answer, with a blank behind the prompt;
    - ``off_domain``: a new row, prose about a garden.

    Parameters
    ----------
    rows
        Schema CORPUS.
    queries
        Schema QUERY, of some f.
    fraction
        Of the rows.
    seed
        Of all choices.

    Returns
    -------
    tuple
        Schema CORPUS and schema TRUTH.
    """
    known = distinct(rows).sort("example_id").to_dicts()
    count, random = max(1, round(fraction * len(known))), generator(seed, "planted")
    made: dict[str, list[Planted]] = {}
    taken: set[str] = set()
    for kind, spoil in SPOILS.items():
        made[kind] = _spoilt(spoil, known, taken, count, random)
        taken |= {each.made_from for each in made[kind]}
    replaced = {each.made_from: each.row for planted in made.values() for each in planted}
    kept = [replaced.get(row["example_id"], row) for row in known]
    made["duplicate"] = [
        _copied(queries.row(n, named=True)) for n in random.permutation(queries.height)[:count]
    ]
    made["off_domain"] = list(_prose(count, random))
    kept += [each.row for kind in ("duplicate", "off_domain") for each in made[kind]]
    truth = [
        (each.row["example_id"], kind, each.made_from, each.start, each.stop)
        for kind, planted in made.items()
        for each in planted
    ]
    return (
        pl.DataFrame(kept, schema=pl.Schema(CORPUS)),
        pl.DataFrame(truth, schema=pl.Schema(TRUTH), orient="row"),
    )


Spoil = Callable[[Row, Sequence[Row], Random], tuple[str, int | None, int | None] | None]
"""Given a row, all rows and chance: another response and which characters of it are noise; or None."""


def _spoilt(spoil: Spoil, known: Sequence[Row], taken: set[str], count: int, random: Random) -> list[Planted]:
    """Spoil as many rows that nobody has taken, in a random order."""
    found: list[Planted] = []
    for place in random.permutation(len(known)).tolist():
        row = known[place]
        if len(found) == count:
            break
        done = None if row["example_id"] in taken else spoil(row, known, random)
        if done is not None:
            response, start, stop = done
            found.append(Planted(_named(row | {"response": response}), row["example_id"], start, stop))
    return found


def _wrong(row: Row, known: Sequence[Row], _random: Random) -> tuple[str, None, None] | None:
    others = [
        other["response"]
        for other in known
        if other["domain"] == row["domain"] and other["response"] != row["response"]
    ]
    if not others:
        return None
    return min(others, key=lambda response: abs(len(response) - len(row["response"]))), None, None


def _shuffled(row: Row, _known: Sequence[Row], random: Random) -> tuple[str, None, None] | None:
    lines = row["response"].split("\n")
    if len(lines) < 3 or len(set(lines)) < 2:
        return None
    moved = lines
    while moved == lines:
        moved = [lines[place] for place in random.permutation(len(lines))]
    return "\n".join(moved), None, None


def _noise(row: Row, _known: Sequence[Row], random: Random) -> tuple[str, int, int] | None:
    lines = row["response"].split("\n")
    places = [place for place, line in enumerate(lines[:-1]) if len(line.strip()) > 3]
    if len(lines) < 3 or not places:
        return None
    place = int(random.choice(places))
    lines[place] = "".join(random.choice(list(string.ascii_letters + string.digits), size=len(lines[place])))
    start = sum(len(line) + 1 for line in lines[:place])
    return "\n".join(lines), start, start + len(lines[place])


def _unusual(row: Row, _known: Sequence[Row], _random: Random) -> tuple[str, None, None] | None:
    return f"{UNUSUAL}\n{row['response']}", None, None


SPOILS: Mapping[str, Spoil] = {
    "wrong": _wrong,
    "shuffled": _shuffled,
    "noise": _noise,
    "unusual": _unusual,
}
"""Kind → what makes a row one of it; None where that row cannot be."""


def _copied(query: Row) -> Planted:
    domain = query["group"].split("/")[0]
    return Planted(_new(domain, f"{query['prompt']} ", query["response"]), query["query_id"])


def _prose(count: int, random: Random) -> Iterator[Planted]:
    for number in range(1, count + 1):
        told = "\n".join(PROSE[place] for place in random.permutation(len(PROSE))[:4])
        yield Planted(_new(OTHER, f"Tell me of garden {number}.", told), f"{OTHER} {number}")


def _new(domain: str, prompt: str, response: str) -> Row:
    told = {
        "domain": domain,
        "source": "planted",
        "raw_ref": "planted",
        "prompt": prompt,
        "response": response,
    }
    return _named(dict.fromkeys(CORPUS) | told)


def _named(row: Row) -> Row:
    return row | {"example_id": example_id(row["domain"], row["prompt"], row["response"])}
