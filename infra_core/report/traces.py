"""Examples with the influence of their tokens and spans, as the viewer of the page takes them."""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from transformers import PreTrainedTokenizerBase

from infra_core.corpus.render import Offsets, response_offsets, token_spans
from infra_core.corpus.schema import distinct
from infra_core.corpus.segment import Rule, segment
from infra_core.errors import AlignmentError
from infra_core.seeds import generator

TRACES = 5_000
TOKENS = 5_000_000
"""At most so many examples, and so many tokens of them, are shown: the file stays within some 30 MB."""

CHUNK = 40_000  # tokens that are unpacked at once
LEVELS = 127  # of strength on either side of zero
TITLE = 100  # characters of a prompt in the list

Part = tuple[pl.DataFrame, Mapping[str, pl.DataFrame]]
"""CORPUS rows with `band` and `behaviours` (of their spans, or null), and their SCORES by token rule."""


def choose(scored: pl.DataFrame, seed: int, *, traces: int = TRACES, tokens: int = TOKENS) -> list[str]:
    """Return which examples are shown: all if they fit, else the strongest of each group, and some at random.

    Places go in turn to the most helpful and the most harmful of every query group and to examples drawn at
    random, one of these for each of those, until there are enough.

    Parameters
    ----------
    scored
        `example_id`, `group`, `influence`, and `tokens`: how long the example is.
    seed
        Of the draw.
    traces, tokens
        Limits.
    """
    examples = scored.select("example_id", "tokens").unique("example_id", keep="first").sort("example_id")
    drawn = examples["example_id"].gather(generator(seed, "traces").permutation(len(examples)))
    turns = [
        rows.sort("influence", "example_id", descending=[down, False]).select(
            "example_id", place=pl.int_range(pl.len())
        )
        for _, rows in scored.group_by("group", maintain_order=True)
        for down in (True, False)
    ]
    strongest = pl.concat(turns).sort("place", maintain_order=True)
    by_turns = [strongest["example_id"].unique(maintain_order=True), drawn]
    places = [
        ids.to_frame().with_columns(place=2 * pl.int_range(pl.len()) + n) for n, ids in enumerate(by_turns)
    ]
    ordered = distinct(pl.concat(places).sort("place"))
    fitting = ordered.join(examples, on="example_id", maintain_order="left").filter(
        pl.col("tokens").cum_sum() <= tokens
    )
    return fitting["example_id"].head(traces).to_list()


@dataclass(frozen=True)
class Traces:
    """What the viewer shows.

    Attributes
    ----------
    index
        An entry an example: what the list shows, sorts and searches by.
    chunks
        Texts, tokens and strengths of examples in that order, packed; the viewer unpacks what is looked at.
    groups, rules
        Query groups and token rules that can be chosen.
    of
        How many examples were scored in all.
    """

    index: list[dict[str, Any]]
    chunks: list[str]
    groups: list[str]
    rules: list[str]
    of: int

    def as_json(self) -> dict[str, Any]:
        """Return all but the chunks, for the viewer."""
        return {"index": self.index, "groups": self.groups, "rules": self.rules, "of": self.of}


def pack(
    parts: Iterable[Part], tokenizer: PreTrainedTokenizerBase, division: Rule | None, *, of: int
) -> Traces:
    """Lay texts, tokens and their influence beside each other, holding one part at a time.

    Parameters
    ----------
    parts
        What is shown; every row has scores under every rule on every query group.
    tokenizer
        That the rows were scored with.
    division
        How responses were divided into spans.
    of
        How many examples were scored in all.
    """
    index: list[dict[str, Any]] = []
    groups: list[str] = []
    rules: list[str] = []
    chunks: list[str] = []
    waiting: list[dict[str, Any]] = []
    held = 0
    for rows, scores in parts:
        known = {rule: _Scores.of(frame) for rule, frame in scores.items()}
        rules = list(known)
        for row, offsets in zip(rows.iter_rows(named=True), response_offsets(rows, tokenizer), strict=True):
            groups = groups or known[rules[0]].groups
            pieces = _pieces(row["response"], offsets, division)
            values = [
                [found.values(row["example_id"], group, pieces) for group in groups]
                for found in known.values()
            ]
            index.append(
                _entry(row, pieces, [value["total"] for value in values[0]], len(chunks), len(waiting))
            )
            waiting.append(_trace(row, pieces, values))
            held += pieces.tokens
            if held >= CHUNK:
                chunks.append(_packed(waiting))
                waiting, held = [], 0
    return Traces(index, [*chunks, *([_packed(waiting)] if waiting else [])], groups, rules, of)


@dataclass(frozen=True)
class _Pieces:
    """A response in pieces that have text: a token each, or several that share a character."""

    first: Int[np.ndarray, " pieces"]  # token that begins a piece
    lengths: Int[np.ndarray, " pieces"]  # in characters
    spans: list[tuple[int, int, str]]  # in pieces
    tokens: int


def _pieces(text: str, offsets: Offsets, division: Rule | None) -> _Pieces:
    if not len(offsets):
        return _Pieces(np.zeros(0, np.int64), np.zeros(0, np.int64), [(0, 0, "response")], 0)
    starts = np.maximum.accumulate(np.array([start for start, _ in offsets]))
    starts[0] = 0
    first = np.flatnonzero(np.diff(starts, prepend=-1) > 0)
    characters = segment(text, division) if division else [(0, len(text), "response")]
    spans = token_spans(characters, offsets)  # of tokens
    edges = np.searchsorted(first, [start for start, _, _ in spans] + [len(offsets)])
    return _Pieces(
        first,
        np.diff(np.append(starts[first], len(text))),
        [(int(a), int(b), kind) for a, b, (_, _, kind) in zip(edges[:-1], edges[1:], spans, strict=True)],
        len(offsets),
    )


@dataclass(frozen=True)
class _Scores:
    """Scores of a part under one rule, lists end to end: as Python objects they would fill the memory."""

    at: Mapping[tuple[str, str], int]
    groups: list[str]
    influence: Float[np.ndarray, " _"]
    spans: tuple[Float[np.ndarray, " _"], Int[np.ndarray, " _"]]
    tokens: tuple[Float[np.ndarray, " _"], Int[np.ndarray, " _"]]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "_Scores":
        pairs = enumerate(frame.select("example_id", "group").iter_rows())
        return cls(
            {(example, group): row for row, (example, group) in pairs},
            frame["group"].unique(maintain_order=True).to_list(),
            frame["influence"].to_numpy(),
            *(
                (frame[name].explode().to_numpy(), np.cumsum([0, *frame[name].list.len()]))
                for name in ("spans", "tokens")
            ),
        )

    def values(self, example: str, group: str, pieces: _Pieces) -> dict[str, Any]:
        """Return the influence of a response's pieces and spans, and of its prompt and end.

        Raises
        ------
        AlignmentError
            If scores are of another division into tokens or spans.
        """
        row = self.at[example, group]
        spans, tokens = (values[edges[row] : edges[row + 1]] for values, edges in (self.spans, self.tokens))
        if len(tokens) <= pieces.tokens or len(spans) != len(pieces.spans) + 1:
            raise AlignmentError(
                f"example {example} has scores of {len(tokens)} tokens and {len(spans) - 1} spans, its text "
                f"{pieces.tokens} and {len(pieces.spans)}; give the tokenizer and spans of its scores"
            )
        own = tokens[len(tokens) - pieces.tokens - 1 :].astype(np.float64)
        pieced = np.add.reduceat(own[:-1], pieces.first) if pieces.tokens else own[:0]
        largest, levels = quantised(pieced)
        return {
            "total": _digits(self.influence[row]),
            "prompt": _digits(spans[0]),
            "spans": [_digits(value) for value in spans[1:]],
            "end": _digits(own[-1]),
            "largest": _digits(largest),
            "levels": base64.b64encode(levels.tobytes()).decode(),
        }


def quantised(values: Float[np.ndarray, " pieces"]) -> tuple[float, Int[np.ndarray, " pieces"]]:
    """Return the largest magnitude, and each value as sign × √(share of it) in `LEVELS` steps, int8.

    The root keeps the many weak ones apart: a value comes back to within 1 % of the largest.
    """
    largest = float(np.abs(values).max(initial=0.0))
    share = np.abs(values) / (largest or 1.0)
    return largest, np.rint(np.sign(values) * np.sqrt(share) * LEVELS).astype(np.int8)


def _entry(
    row: Mapping[str, Any], pieces: _Pieces, influence: list[float], chunk: int, at: int
) -> dict[str, Any]:
    return {
        "id": row["example_id"],
        **{name: row[name] for name in ("domain", "source", "band")},
        "title": " ".join(row["prompt"].split())[:TITLE],
        "tokens": pieces.tokens + 1,
        "influence": influence,
        "chunk": chunk,
        "at": at,
    }


def _trace(row: Mapping[str, Any], pieces: _Pieces, values: list[list[dict[str, Any]]]) -> dict[str, Any]:
    texts = {name: row[name] for name in ("prompt", "response")}
    labels = row["behaviours"] or [kind for _, _, kind in pieces.spans]
    spans = [(*span, label) for span, label in zip(pieces.spans, labels, strict=True)]
    return {**texts, "lengths": pieces.lengths.tolist(), "spans": spans, "values": values}


def _packed(traces: Sequence[Mapping[str, Any]]) -> str:
    text = json.dumps(traces, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)).decode()


def _digits(value: float | np.floating) -> float:
    """Return a number to four significant digits, which is more than anybody reads."""
    return float(f"{value:.4g}")
