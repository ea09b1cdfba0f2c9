"""The tables that pass between stages, as polars schemas. Column order is part of the schema."""

import hashlib
from collections.abc import Mapping

import polars as pl

Schema = Mapping[str, pl.DataType]

CORPUS: Schema = {
    "example_id": pl.String(),  # 16 hex of sha256(domain, prompt, response)
    "domain": pl.String(),  # an open label: math, code, science …
    "source": pl.String(),  # the recipe's name of the source (of the benchmark, for questions)
    "raw_ref": pl.String(),  # "file#line", 1-based
    "prompt": pl.String(),
    "response": pl.String(),  # empty only in benchmarks, where a question need not carry a reference answer
    "answer": pl.String(),  # final answer if known, else null
    "tests": pl.String(),  # JSON that `verify.code` understands, else null
    "difficulty_raw": pl.String(),  # as the source spells it
    "difficulty": pl.Float32(),  # [0, 1], 1 = hardest; null when unknown
    "difficulty_method": pl.String(),  # label | pass_rate | null
    "license": pl.String(),
    "group": pl.String(),  # shared by several responses to one problem
}
"""One CotExample a row. A benchmark is a corpus of questions: same columns, `source` = benchmark name."""

DROPPED: Schema = {
    "source": pl.String(),
    "raw_ref": pl.String(),
    "reason": pl.String(),  # "what: evidence", e.g. "no response: column 'solution' is null"
    "raw": pl.String(),  # the raw row as JSON (or its text, if it was no JSON), so that nothing is lost
}

LENGTHS: Schema = {
    "example_id": pl.String(),
    "prompt_tokens": pl.Int32(),
    "response_tokens": pl.Int32(),  # scored tokens; none of a question without a reference answer
}
"""Row-local: how long a row is for a tokenizer."""

RATINGS: Schema = {
    "example_id": pl.String(),
    "pool": pl.String(),  # corpus | reserve | benchmark
    "domain": pl.String(),
    "source": pl.String(),
    "difficulty": pl.Float32(),
    "difficulty_method": pl.String(),
    "band": pl.String(),  # easy | medium | hard | null; cut at the corpus's own quantiles within the domain
    "prompt_tokens": pl.Int32(),
    "response_tokens": pl.Int32(),  # scored tokens, i.e. what the loss is summed over
}
"""Global table by `example_id`: what is known of a row beside its text."""

PASS_RATES: Schema = {
    "example_id": pl.String(),
    "pass_rate": pl.Float32(),  # fraction of the model's own draws that were right
    "draws": pl.Int32(),
}
"""Row-local: how often the model solves a row's problem, where there is something to judge an answer by."""

AGREEMENT: Schema = {
    "domain": pl.String(),
    "spearman": pl.Float64(),  # of label and 1 − pass rate
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_examples": pl.Int32(),
    "n_problems": pl.Int32(),  # clusters of the interval
}

SCREEN: Schema = {
    "example_id": pl.String(),
    "pool": pl.String(),  # corpus | reserve
    "verdict": pl.String(),  # duplicate | contaminated | suspect; rows that are fine are not listed
    "matched": pl.String(),  # example_id of the row kept, or of the benchmark question
    "matched_source": pl.String(),
    "containment": pl.Float32(),  # as in OVERLAPS; of a duplicate its similarity to another wording, or 1
    "rule": pl.String(),  # of a duplicate: equal | near; else as in OVERLAPS
}
"""Global table by `example_id`: rows that a global look found wanting. `suspect` rows are kept."""

SIGNATURES: Schema = {
    "example_id": pl.String(),
    "source": pl.String(),
    "raw_ref": pl.String(),
    "group": pl.String(),
    "judged": pl.Boolean(),  # has an answer or tests
    "labelled": pl.Boolean(),  # has a difficulty
    "response_chars": pl.UInt32(),
    "prompt_key": pl.Int64(),  # equal prompts
    "whole_key": pl.Int64(),  # equal prompts and responses
    "quantities_key": pl.Int64(),  # the same numbers and operators in the same order
    "answer_key": pl.Int64(),  # equal answers, or tests; null if there are none
    "bands": pl.List(pl.UInt32()),  # of the prompt's MinHash signature; zeros if it has no word
}
"""Row-local: what duplicates are told by, without any text."""

OVERLAPS: Schema = {
    "example_id": pl.String(),
    "field": pl.String(),  # of the row: prompt | response
    "question_id": pl.String(),
    "benchmark": pl.String(),
    "question_field": pl.String(),  # prompt | response, which is the reference answer
    "rule": pl.String(),  # equal | n-grams | renumbered | inside | quoted; see `corpus.overlap`
    "verdict": pl.String(),  # contaminated | suspect
    "containment": pl.Float32(),  # shared n-grams / the smaller set (of the question, where it is quoted)
    "shared": pl.String(),  # the longest run of words that both have
}
"""What of a benchmark stands in which row: the evidence behind the verdicts of SCREEN."""

RANGES = pl.List(pl.Struct({"start": pl.Int32(), "stop": pl.Int32()}))
"""Stretches of a response in characters, half open."""

SPANS: Schema = {
    "example_id": pl.String(),
    "span": pl.Int32(),  # 1 is the first of the response
    "kind": pl.String(),  # text | code
    "start": pl.Int32(),  # characters of the response
    "stop": pl.Int32(),
    "tokens": pl.Int32(),
    "last": pl.Boolean(),
}
"""One row a span of a response, in the order of `SCORES.spans`, whose entry 0 is the prompt."""

BEHAVED: Schema = {
    **SPANS,
    "behaviour": pl.String(),  # as docs/behaviours.md defines them
    "before": pl.Int32(),  # tokens of the response that stand before the span
    "of": pl.Int32(),  # tokens of the response
}
"""Row-local: what each span of a response does, and where it stands."""

TOKENED: Schema = {
    "example_id": pl.String(),
    "token_class": pl.String(),  # as docs/attributes.md defines them
    "word": pl.String(),  # its text, at most 40 characters of it
    "first": pl.Int32(),  # its first token, of the response
    "tokens": pl.Int32(),
}
"""Row-local: one row a word of a response that some token belongs to; words of an example tile its tokens."""

GRADIENT_NORMS: Schema = {
    "example_id": pl.String(),
    "gradient_norm": pl.Float64(),  # nats per weight: of the summed loss, by the weights that influence is of
}

MIXTURE: Schema = {
    **CORPUS,
    "origin": pl.String(),  # kept | swapped_in | edited
    "replaces": pl.String(),  # example_id of the row that left for it, or that it was cut from; or null
    "reason": pl.String(),
    "weight": pl.Float32(),  # its loss counts so often; null: once
    "masked": RANGES,  # stretches of the response that carry no loss; null: none
    "band": pl.String(),  # as in RATINGS
    "tokens": pl.Int32(),  # prompt and response
    "scored_tokens": pl.Int32(),  # of the response, without what is masked
}

LEFT: Schema = {
    "example_id": pl.String(),
    "domain": pl.String(),
    "source": pl.String(),
    "band": pl.String(),
    "tokens": pl.Int32(),
    "reason": pl.String(),
    "replaced_by": pl.String(),  # example_id of the row that came for it, or null
}
"""Rows of the corpus that are not in a mixture, each once for every time it is in the corpus."""

DIRECTIONS: Schema = {
    "domain": pl.String(),
    "out_of": pl.String(),  # the band whose rows help least; null where the difference is not clear
    "into": pl.String(),  # the band whose rows help most
    "gain": pl.Float64(),  # benefit of the one beyond the other; see `mixture.evidence`
    "low": pl.Float64(),
    "high": pl.Float64(),
    "unit": pl.String(),  # that it is of: row | token
    "n_problems": pl.Int32(),  # clusters of the interval, of the smaller of the two bands
}
"""What influence says a flip should move."""

QUERY: Schema = {
    "query_id": pl.String(),
    "question_id": pl.String(),  # example_id of the benchmark row
    "task": pl.String(),  # benchmark name
    "group": pl.String(),  # e.g. "math/correct": the queries averaged into one f
    "prompt": pl.String(),
    "response": pl.String(),  # the model's own, or the reference
    "correct": pl.Boolean(),
    "verdict": pl.String(),  # why
    "draw": pl.Int32(),
    "objective": pl.String(),  # own_correct | changed | reference
}

SCORES: Schema = {
    "example_id": pl.String(),
    "group": pl.String(),
    "influence": pl.Float32(),  # nats, positive = helpful
    "spans": pl.List(pl.Float32()),  # span 0 is the prompt
    "tokens": pl.List(pl.Float32()),  # entry t is about predicting token t; entry 0 is 0
}

ANSWERS: Schema = {
    "task": pl.String(),
    "task_version": pl.String(),
    "question_id": pl.String(),
    "domain": pl.String(),
    "difficulty": pl.Float32(),
    "draw": pl.Int32(),
    "response": pl.String(),
    "correct": pl.Boolean(),
    "verdict": pl.String(),
    "response_tokens": pl.Int32(),
    "truncated": pl.Boolean(),
    # lm-eval's own metrics of this answer, named "metric,filter"; empty where a definition has none
    "harness": pl.List(pl.Struct({"metric": pl.String(), "value": pl.Float64()})),
}
"""One sampled answer to one benchmark question, judged."""

DRAWS: Schema = {
    "question_id": pl.String(),
    "draw": pl.Int32(),
    "response": pl.String(),
    "tokens": pl.Int32(),  # the end counted
    "ended": pl.Boolean(),
}
"""Answers as they were drawn, before anybody judges them."""

LIKELIHOODS: Schema = {
    "task": pl.String(),
    "question_id": pl.String(),
    "domain": pl.String(),
    "difficulty": pl.Float32(),
    "nll": pl.Float32(),  # nats, summed over the reference response's tokens
    "scored_tokens": pl.Int32(),
}

NEARNESS: Schema = {
    "example_id": pl.String(),
    "cosines": pl.List(pl.Float32()),  # with each query that is part of some f, in their order
}

EVALUATION: Schema = {
    "task": pl.String(),
    "task_version": pl.String(),
    # accuracy (fraction) | nll_per_token (nats) | truncated (fraction) | response_tokens
    "metric": pl.String(),
    "value": pl.Float64(),
    "stderr": pl.Float64(),  # clustered by question
    "n_questions": pl.Int32(),
    "n_draws": pl.Int32(),
    "seed": pl.Int64(),
    "harness_version": pl.String(),
}
"""EvalReport rows."""


def example_id(domain: str, prompt: str, response: str) -> str:
    """Return the identity of an example's content: 16 hex digits.

    Examples
    --------
    >>> example_id("math", "1+1?", "2") == example_id("math", "1+1?", "2")
    True
    >>> example_id("math", "1+1?", "2") == example_id("math", "1+1?2", "")
    False
    """
    # Length prefixes keep ("ab", "c") and ("a", "bc") apart.
    text = "".join(f"{len(piece)}:{piece}" for piece in (domain, prompt, response))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def distinct(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep the first row of each `example_id`: rows of equal content are one example."""
    return frame.unique(subset="example_id", keep="first", maintain_order=True)
