"""Markdown that reads well as plain text, and in which foreign text stays text."""

from collections.abc import Sequence

_SPECIAL = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "|": "&#124;",
    "`": "&#96;",
    "*": "&#42;",
    "_": "&#95;",
    "[": "&#91;",
    "]": "&#93;",
    "\\": "&#92;",
    "#": "&#35;",
    "!": "&#33;",
}


def escape(text: str) -> str:
    """Return text from elsewhere so that neither Markdown nor HTML in it does anything; one line.

    Examples
    --------
    >>> escape("a|b <script>")
    'a&#124;b &lt;script&gt;'
    """
    # One pass, so that the entities themselves are not escaped again.
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def code(name: str) -> str:
    """Return a name as code; one that could break out of it as escaped text.

    Examples
    --------
    >>> code("math/correct"), code("a`b")
    ('`math/correct`', 'a&#96;b')
    """
    is_plain = name and name == " ".join(name.split()) and not set(name) & set("`|<>&")
    return f"`{name}`" if is_plain else escape(name)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return the lines of a table with columns that line up, the first `left` of them to the left."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    rule = ["-" * width if n < left else "-" * (width - 1) + ":" for n, width in enumerate(widths)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    return [line(header), line(rule), *map(line, rows), ""]
