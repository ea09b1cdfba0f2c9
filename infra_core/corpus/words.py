r"""Texts as words, seen so that spelling does not matter: what overlap and near-duplicates are measured on.

Polars expressions, so that a part of a corpus costs milliseconds. A word is a run of letters, a run of
digits, or a single Chinese or Japanese character; ``2x`` is two words and so is ``2 x``. What LaTeX adds for
looks (``\,``, ``\left``, ``\dfrac`` for ``\frac``, ``10{,}000``) is gone.

Beside each word stands its *shape*: a number is ``0`` and a single letter ``v``. Two texts that differ by
their numbers or the names of their variables have the same shapes.
"""

import polars as pl

N_SPREAD = 0x9E3779B97F4A7C15  # an odd constant: words of an n-gram weigh differently by their place
SHORTEST_NAMED = 8  # words and signs of a line whose variables may have any names
PHRASE = 4  # words of a phrase that several texts may share without being about the same
LATEX_STYLE = (
    r"\\(?:[,!;:> ]|(?:left|right|big|bigg|quad|qquad|displaystyle|textstyle|limits"
    r"|text|textbf|textit|mathrm|mathbf|mathit|operatorname)\b)"
)
WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}--[\p{Han}\p{Hiragana}\p{Katakana}]]+|\p{N}+"
SIGN = r"[^\s\p{L}\p{N}.,;:!?'\"“”‘’`$\\{}()\[\]_~#]"
ASKING = frozenset(
    """
    a above all an and answer answers are as assistant be below box boxed brackets by care carefully code
    complete concise correct detail detailed directly each enclosed end expert explain explanation final
    finally find first following for format from full function generate give given here i in input inside
    instruction instructions is it its just let let's lets like make math mathematical mathematics must need
    now of on only out output please precisely problem program prompt provide put python q question reason
    reasoning respond response result return s show simplest simplified solution solve step steps task that
    the then there these think this thought thoughts through time to us use user using want we will with
    within work write you your
    """.split()  # noqa: SIM905 - a list of a hundred strings is no easier to read
)
"""Words of which instructions around a problem are made; a sentence of nothing else is no part of it."""


BEGINS_INSTRUCTION = (
    "please|answer|put|let|think|return|respond|question|problem|solution|your|give|write|output"
)
INSTRUCTION = rf"\n\s*\n|\n\s*(?:\W*\b({BEGINS_INSTRUCTION})\b)"
VARIABLE = r"^[a-zα-ω]$"
END = "¶"  # of a sentence
AROUND = (END, "*", "-", "–", "—")  # what may stand between the words of an instruction
LABEL = r"^\W*(?:problem|question|exercise|example|task|q)?\s*#?\d{1,4}\s*[.):]\s+"


def canonical(text: pl.Expr) -> pl.Expr:
    r"""Return text in lower case without what only changes its looks.

    Examples
    --------
    >>> pl.select(canonical(pl.lit(r"\left( 10{,}000\, x"))).item().split()
    ['(', '10000', 'x']
    """
    return (
        text.str
        .to_lowercase()
        .str.replace_all(r"\\[dt]frac", r"\frac")
        .str.replace_all(r"(\d)(?:,|\{,\})(\d{3})\b", "$1$2")
        .str.replace_all(r"\b10 ?(?:\^|\*\*) ?\{?(\d+)\}?", "10$1")
        .str.replace_all(LATEX_STYLE, " ")
    )


def problem_table(texts: pl.Series) -> pl.DataFrame:
    r"""Return what each text asks: `row` (u32) and `token`, its words, signs and ends of sentences in order.

    Left out are a label ("Problem 3.") and the sentences that only say how to answer, unless nothing else is
    there. A single line break is a space, but before words that begin an instruction. Variables are all
    called ``v``, but in very short lines: in "f(2)=" the letter is all there is.

    Examples
    --------
    >>> asked = pl.Series(["Question 3: What is 3 + 4?\nPlease reason step by step."])
    >>> problem_table(asked)["token"].to_list()
    ['what', 'is', '3', '+', '4', '¶']
    """
    parted = canonical(pl.col("text")).str.replace_all(INSTRUCTION, " . $1 ").str.replace(LABEL, "")
    ends = pl.col("token") == END
    last = ends | (pl.col("row") != pl.col("row").shift(-1))
    table = (
        texts
        .alias("text")
        .to_frame()
        .select(token=parted.str.extract_all(f"{WORD}|{SIGN}|[.?!:]+"))
        .with_row_index("row")
        .explode("token")
        .drop_nulls("token")
        .with_columns(
            pl
            .when(pl.col("token").str.contains(r"^[.?!:]"))
            .then(pl.lit(END))
            .otherwise("token")
            .alias("token")
        )
        .with_columns(
            sentence=last.shift(1, fill_value=False).cum_sum(),
            asks=~pl.col("token").is_in([*ASKING, *AROUND]),
        )
        .filter(pl.col("asks").any().over("sentence") | ~pl.col("asks").any().over("row"))
    )
    named = (pl.len().over("row") >= SHORTEST_NAMED) & pl.col("token").str.contains(VARIABLE)
    return table.select("row", token=pl.when(named).then(pl.lit("v")).otherwise("token"))


def lines(problems: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Return each of so many problems of a `problem_table` as one line, by which short ones are compared.

    Returns
    -------
    DataFrame
        `line`; `stopped`, the same with the ends of sentences; `shape`, the line with all numbers alike.

    Examples
    --------
    >>> asked = pl.Series(["Solve for $x$: $2x+3=7$.", "Please answer. Solve for y: 2 y + 3 = 7"])
    >>> lines(problem_table(asked), 2).rows()[0]
    ('solve for v 2 v + 3 = 7', '¶ solve for v ¶ 2 v + 3 = 7 ¶', 'solve for v 0 v + 0 = 0')
    >>> lines(problem_table(asked), 2)["line"].n_unique()
    1
    """
    words = pl.col("token").filter(pl.col("token") != END)
    found = problems.group_by("row").agg(line=words.str.join(" "), stopped=pl.col("token").str.join(" "))
    every = pl.select(row=pl.int_range(rows, dtype=pl.UInt32)).join(
        found, on="row", how="left", maintain_order="left"
    )
    stopped = pl.format(f"{END} {{}} {END}", pl.col("stopped").fill_null(""))
    return every.select(
        pl.col("line").fill_null(""),
        stopped=stopped.str.replace_all(f"{END} (?: *{END})+", END).str.replace_all(f"{END}(?: {END})+", END),
        shape=pl.col("line").fill_null("").str.replace_all(r"\p{N}+(?: \p{N}+)*", "0"),
    )


def with_shapes(table: pl.DataFrame) -> pl.DataFrame:
    """Add to a column `word` its `shape`."""
    shape = (
        pl
        .when(pl.col("word").str.contains(r"^\p{N}"))
        .then(pl.lit("0"))
        .when(pl.col("word").str.contains(VARIABLE))
        .then(pl.lit("v"))
        .otherwise(pl.col("word"))
    )
    return table.with_columns(shape=shape)


def word_table(texts: pl.Series) -> pl.DataFrame:
    """Return every word of every text in order: `row` (u32), `word` and `shape`; none for an empty text.

    Examples
    --------
    >>> word_table(pl.Series(["Is 2x = 10?"])).rows()
    [(0, 'is', 'is'), (0, '2', '0'), (0, 'x', 'v'), (0, '10', '0')]
    """
    table = (
        texts
        .alias("text")
        .to_frame()
        .select(word=canonical(pl.col("text")).str.extract_all(WORD))
        .with_row_index("row")
        .explode("word")
        .drop_nulls("word")
    )
    return with_shapes(table)


def ngrams(table: pl.DataFrame, n: int) -> pl.Series:
    """Return a number for the `n` shapes from each word of a `word_table` on; null where fewer are left.

    Equal n-grams have equal numbers within a process. Two different ones have the same by chance once in
    2^64.
    """
    total = pl.lit(0, dtype=pl.UInt64)
    for place in range(n):
        total = total * pl.lit(N_SPREAD, dtype=pl.UInt64) + pl.col("number").shift(-place)
    whole = pl.col("row").shift(1 - n) == pl.col("row")
    numbers = table.select("row", number=pl.col("shape").hash())
    return numbers.select(pl.when(whole).then(total).alias("gram")).to_series()


def runs(table: pl.DataFrame, n: int) -> pl.DataFrame:
    """Return the texts of a `word_table` as their distinct n-grams of shapes: `row`, `runs` (list of texts).

    A text of fewer words is one run.
    """
    shapes = [pl.col("shape").shift(-place) for place in range(n)]
    whole = pl.col("row").shift(1 - n) == pl.col("row")
    full = table.select("row", run=pl.when(whole).then(pl.concat_str(shapes, separator=" "))).drop_nulls()
    short = table.join(full, on="row", how="anti").group_by("row").agg(run=pl.col("shape").str.join(" "))
    together = pl.concat([full, short.with_columns(pl.col("row").cast(pl.UInt32))])
    return together.unique(maintain_order=True).group_by("row", maintain_order=True).agg(runs="run")


def covered(table: pl.DataFrame, phrases: pl.Series) -> pl.DataFrame:
    """Add `common`: whether a word is in one of the `phrases`, n-grams of `PHRASE` shapes."""
    begins = ngrams(table, PHRASE).is_in(phrases.implode()).fill_null(value=False)
    marked = table.with_columns(begins=begins)
    reach = [
        pl.col("begins").shift(place, fill_value=False) & (pl.col("row").shift(place) == pl.col("row"))
        for place in range(1, PHRASE)
    ]
    return marked.with_columns(common=pl.any_horizontal("begins", *reach)).drop("begins")


def telling_ngrams(table: pl.DataFrame, n: int) -> pl.DataFrame:
    """Return the distinct n-grams of shapes, `row` and `gram`, with at most half of their words `common`."""
    words_common = pl.sum_horizontal(pl.col("common").shift(-place).cast(pl.UInt8) for place in range(n))
    grams = table.select("row", gram=pl.when(2 * words_common <= n).then(ngrams(table, n)))
    return grams.drop_nulls("gram").unique()


def common_phrases(table: pl.DataFrame, least: int) -> pl.Series:
    """Return the phrases that stand in at least `least` different rows."""
    phrases = table.select("row", phrase=ngrams(table, PHRASE)).drop_nulls().unique()
    counted = phrases.group_by("phrase").len()
    return counted.filter(pl.col("len") >= least)["phrase"]
