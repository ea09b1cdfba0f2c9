"""Sums of two-digit numbers, worked out digit by digit: the maths of the tiny world is made of them."""

import itertools
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

_HIGHEST = 99  # that a running total may be where a sum is drawn


class Sum(NamedTuple):
    """Terms that are added and taken away in turn; no running total is below zero."""

    terms: tuple[int, ...]
    signs: tuple[str, ...]  # before all terms but the first

    def __str__(self) -> str:
        return f"{self.terms[0]}{_written(self.signs, self.terms[1:])}"

    @property
    def totals(self) -> list[int]:
        """What it comes to after each term."""
        return list(itertools.accumulate(self._signed()))

    def worked(self) -> list[str]:
        """Return a line for each sign, such as ``47+38-12: 7+8=15, 4+3+1=8``.

        Every line says again what is left to do, so that the next one need not look further back.
        """
        return [
            f"{total}{_written(self.signs[place:], self.terms[place + 1 :])}: "
            f"{digits(total, self.signs[place], self.terms[place + 1])}"
            for place, total in enumerate(self.totals[:-1])
        ]

    def others(self) -> list["Sum"]:
        """Return the same terms in every other order that begins with an addend and stays above zero."""
        orders = dict.fromkeys(itertools.permutations(self._signed()))
        sums = [
            Sum(tuple(map(abs, order)), tuple("-" if term < 0 else "+" for term in order[1:]))
            for order in orders
        ]
        return [
            other
            for other, order in zip(sums, orders, strict=True)
            if order[0] > 0 and other != self and min(other.totals) >= 0
        ]

    def _signed(self) -> Iterator[int]:
        yield self.terms[0]
        yield from (
            -term if sign == "-" else term for sign, term in zip(self.signs, self.terms[1:], strict=True)
        )


def draw_sum(level: int, random: Random, *, minus: float) -> Sum:
    """Draw a sum of `level` + 1 terms of two digits, whose running totals have no more."""
    signs = ["-" if random.random() < minus else "+" for _ in range(level)]
    terms = None
    while terms is None:
        terms = _terms(signs, random)
    return Sum(tuple(terms), tuple(signs))


def digits(total: int, sign: str, term: int) -> str:
    """Return the digits' work.

    Examples
    --------
    >>> digits(47, "+", 38)
    '7+8=15, 4+3+1=8'
    """
    (tens, ones), (more_tens, more_ones) = divmod(total, 10), divmod(term, 10)
    if sign == "+":
        over = int(ones + more_ones > 9)
        low = ones + more_ones
        high = tens + more_tens + over
    else:
        over = int(ones < more_ones)
        ones += 10 * over
        low = ones - more_ones
        high = tens - more_tens - over
    first = f"{ones}{sign}{more_ones}={low}"
    second = f"{tens}{sign}{more_tens}{f'{sign}1' if over else ''}={high}"
    return f"{first}, {second}"


def _written(signs: Sequence[str], terms: Sequence[int]) -> str:
    return "".join(f"{sign}{term}" for sign, term in zip(signs, terms, strict=True))


def _terms(signs: Sequence[str], random: Random) -> list[int] | None:
    """Draw terms, or return None if they come to a dead end."""
    total = random.randint(10, _HIGHEST - 10 * signs.count("+"))
    terms = [total]
    for place, sign in enumerate(signs):
        room = total if sign == "-" else _HIGHEST - total - 10 * signs[place + 1 :].count("+")
        if room < 10:
            return None
        terms.append(random.randint(10, room))
        total += -terms[-1] if sign == "-" else terms[-1]
    return terms
