"""The measurements: which sides run, in which order, and what is held against which bar."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import corpus_rows, ours
from benchmarks.agreement import growth_exponent, pearson, spearman
from benchmarks.machine import mean
from benchmarks.planted import EDITS, HELD
from benchmarks.results import Result, at_least, at_most
from benchmarks.scaling import RunSide, growth, peaks
from benchmarks.workloads import FULL, QUICK, MadeRows

MEBIBYTE = 2**20
GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement that can be asked for by name.

    Attributes
    ----------
    seconds
        About what it takes on two quiet cores.
    run
        Given how to run a side and whether to be quick, returns the results.
    """

    name: str
    what: str
    seconds: int
    run: Callable[[RunSide, bool], list[Result]]


def peers(run_side: RunSide, quick: bool, name: str) -> list[Result]:
    """Fit and score the same rows with every library, ours before and after each peer."""
    workload = (QUICK if quick else FULL)[name]
    apart = run_side("ours", workload, apart=True)
    runs = [run_side("ours", workload)]
    theirs = run_side("kronfluence", workload)
    runs.append(run_side("ours", workload))
    bergson = run_side("bergson", workload)
    if ours.FASTEST == "fp32":
        fastest = runs
    else:
        fastest = [run_side("ours", workload, policy=ours.FASTEST) for _ in range(2)]
    results = [
        *against_kronfluence(runs, fastest, theirs),
        *against_bergson(runs, bergson),
        *against_the_limit(apart),
        *_reported(runs, apart, theirs, bergson),
    ]
    return [replace(result, name=f"{name}/{result.name}") for result in results]


def against_kronfluence(
    runs: list[dict[str, Any]], fastest: list[dict[str, Any]], theirs: dict[str, Any]
) -> list[Result]:
    """Compare speed, agreement and memory; ours is the mean of its runs, and the highest peak of them."""
    exact, quickest = np.array(runs[0]["scores"]), np.array(fastest[0]["scores"])
    reference = np.array(theirs["scores"])
    total, work = sum(theirs["seconds"].values()), _work(theirs)
    peak = max(run["peak_bytes"] for run in runs)
    return [
        Result("kronfluence work", work / _mean(runs, _work), "× faster, eigh apart", at_least(4)),
        Result("kronfluence total", total / _mean(runs, _total), "× faster", at_least(3)),
        Result("kronfluence pearson", pearson(exact, reference), "correlation", at_least(0.9999)),
        Result(
            f"kronfluence work, policy {ours.FASTEST}",
            work / _mean(fastest, _work),
            "× faster, eigh apart",
            at_least(6),
        ),
        Result(
            f"kronfluence spearman, policy {ours.FASTEST}",
            spearman(quickest, reference),
            "correlation, lowest query",
            at_least(0.995),
        ),
        Result("memory", peak / theirs["peak_bytes"], "× kronfluence's peak", at_most(0.6)),
    ]


def against_bergson(runs: list[dict[str, Any]], theirs: dict[str, Any]) -> list[Result]:
    """Compare the whole, and the order of the rows."""
    agreement = spearman(np.array(runs[0]["scores"]), np.array(theirs["scores"]))
    return [
        Result("bergson total", _total(theirs) / _mean(runs, _total), "× faster", at_least(1.5)),
        Result("bergson spearman", agreement, "correlation, lowest query", at_least(0.99)),
    ]


def against_the_limit(apart: dict[str, Any]) -> list[Result]:
    """Compare each stage's necessary operations a second with plain matrix products in the same process.

    Of a run whose stages each make their own passes, since that is what the operations are counted for.
    """
    stages = ("covariance", "lambda", "scores")
    return [
        Result(
            f"limit {stage}",
            apart["flops"][stage] / apart["seconds"][stage] / apart["gemm_rate"],
            "of the GEMM rate, fp32",
            at_least(0.6),
        )
        for stage in stages
    ]


def _reported(
    runs: list[dict[str, Any]], apart: dict[str, Any], kronfluence: dict[str, Any], bergson: dict[str, Any]
) -> list[Result]:
    """Report what the ratios are made of."""
    own = [
        Result(f"ours {stage}", mean([run["seconds"][stage] for run in runs]), "s")
        for stage in runs[0]["seconds"]
    ]
    own += [Result(f"ours apart {stage}", seconds, "s") for stage, seconds in apart["seconds"].items()]
    theirs = [
        Result(f"kronfluence {stage}", seconds, "s") for stage, seconds in kronfluence["seconds"].items()
    ]
    return [
        *own,
        *theirs,
        Result("bergson total", bergson["seconds"]["total"], "s"),
        Result("ours peak memory", max(run["peak_bytes"] for run in runs) / MEBIBYTE, "MiB"),
        Result("ours apart peak memory", apart["peak_bytes"] / MEBIBYTE, "MiB"),
        Result("kronfluence peak memory", kronfluence["peak_bytes"] / MEBIBYTE, "MiB"),
        Result("GEMM rate", mean([run["gemm_rate"] for run in runs]) / GIGA, "GFLOP/s, fp32"),
    ]


def _total(reply: Mapping[str, Any]) -> float:
    return float(sum(reply["seconds"].values()))


def _work(reply: Mapping[str, Any]) -> float:
    return _total(reply) - float(reply["seconds"]["eigh"])


def _mean(runs: list[dict[str, Any]], of: Callable[[Mapping[str, Any]], float]) -> float:
    return mean([of(run) for run in runs])


def eigh(run_side: RunSide, quick: bool) -> list[Result]:
    """Decompose the same covariances."""
    reply = run_side("eigh", (QUICK if quick else FULL)["a"])
    results = [Result("eigh kronfluence", reply["kronfluence"], "s")]
    for way, ours_ in reply["ours"].items():
        speed, taken = reply["kronfluence"] / mean(ours_["seconds"]), mean(ours_["seconds"])
        results += [
            Result(f"eigh {way}", speed, "× kronfluence's speed", at_least(1.5)),
            Result(f"eigh {way} residual", ours_["residual"], "‖CQ − QΛ‖ / ‖C‖", at_most(1e-5)),
            Result(f"eigh {way} ours", taken, "s"),
        ]
    return results


def levels(run_side: RunSide, quick: bool) -> list[Result]:
    """Compare the token level with the least that the instance level costs."""
    workload = replace((QUICK if quick else FULL)["a"], rows=4 if quick else 12)
    seconds = run_side("levels", workload, repeats=2 if quick else 3)["seconds"]
    instance, unit = seconds["instance"], seconds["forward_backward"]
    extra = (seconds["loss_term"] - instance) / 2 / unit
    return [
        Result("token level, position", seconds["position"] / instance, "× instance level", at_most(1.15)),
        Result("token level, loss_term", extra, "forward + backward extra a group", at_most(1)),
        *(Result(f"level {kind}", taken, "s") for kind, taken in seconds.items()),
    ]


def queries(run_side: RunSide, quick: bool) -> list[Result]:
    """Score tokens against 64 single queries, at full rank and compressed, and compare the scores."""
    count = 4 if quick else 64
    workload = QUICK["a"] if quick else replace(FULL["a"], layers=2, rows=16)
    reply = run_side("queries", workload, count=count)
    exact, near = (np.array(reply["scores"][kind]) for kind in ("exact", "compressed"))
    name = f"{count} queries"
    return [
        *(
            Result(f"{name}, {kind}, {stage}", seconds, "s")
            for kind, taken in reply["seconds"].items()
            for stage, seconds in taken.items()
        ),
        Result(f"{name}, rows scored", reply["tokens"], "tokens"),
        Result(f"{name}, compressed, energy", reply["energy"], "share kept, lowest module"),
        Result(f"{name}, compressed, rank", reply["kept"], "of the width, highest module"),
        Result(f"{name}, compressed, pearson", pearson(near, exact), "correlation with exact"),
        Result(f"{name}, compressed, spearman", spearman(near, exact), "correlation, lowest query"),
    ]


CORPUS_ROWS = (100_000, 1_000_000)
GIGABYTE = 1e9


def corpus(run_side: RunSide, quick: bool) -> list[Result]:
    """Take made corpora of two sizes from raw files to a mixture, and through datatrove."""
    sizes = (500, 1_000) if quick else CORPUS_ROWS
    runs, peers = [], []
    for size in sizes:
        with TemporaryDirectory() as folder:
            made, rows = corpus_rows.write(Path(folder), size), MadeRows(f"{size:,} rows", size)
            text = sum(file.stat().st_size for file in made.train.rglob("*.jsonl"))
            runs.append(run_side("pools", rows, folder=folder))
            peers.append(run_side("datatrove", rows, folder=folder, text="rows"))
            if size == sizes[0]:
                prompts = run_side("datatrove", rows, folder=folder, text="prompts")
    totals, theirs, last = [_total(run) for run in runs], [_total(peer) for peer in peers], runs[-1]
    return [
        Result("corpus text", text / GIGABYTE, "GB", at_least(1) if not quick else None),
        Result("corpus growth", growth_exponent(sizes, totals).exponent, "exponent", at_most(1.1)),
        Result("corpus memory", last["peak_bytes"] / GIGABYTE, "GB", at_most(4)),
        Result("datatrove, all rows", theirs[-1] / totals[-1], "× its seconds", at_least(1)),
        Result("datatrove, a tenth", theirs[0] / totals[0], "× its seconds"),
        Result("datatrove, prompts of a tenth", _total(prompts) / totals[0], "× its seconds"),
        *(Result(f"corpus {stage}", taken, "s") for stage, taken in last["seconds"].items()),
        *(Result(f"corpus {size:,} rows", taken, "s") for size, taken in zip(sizes, totals, strict=True)),
        *(Result(f"datatrove {size:,} rows", taken, "s") for size, taken in zip(sizes, theirs, strict=True)),
        *_planted(last["found"]),
    ]


def _planted(found: list[dict[str, Any]]) -> list[Result]:
    """Return recall and precision for each edit: of leaks among all contaminated, of duplicates likewise.

    Whatever else was listed counts against every edit.
    """
    results = []
    for kind, verdict in (("leaked", "contaminated"), ("duplicate", "duplicate")):
        wrong = sum(
            one["rows"] for one in found if one["verdict"] == verdict and one["kind"] in {"plain", "hard"}
        )
        for edit in EDITS:
            here = [one for one in found if (one["kind"], one["edit"]) == (kind, edit)]
            caught = sum(one["rows"] for one in here if one["verdict"] == verdict)
            bar = at_least(0.98) if edit in HELD else None
            name, planted = f"{kind}, {edit}", sum(one["rows"] for one in here)
            results += [
                Result(f"{name}, recall", caught / max(planted, 1), f"of {planted} rows", bar),
                Result(
                    f"{name}, precision",
                    caught / max(caught + wrong, 1),
                    f"{wrong} wrong",
                    bar if caught else None,
                ),
            ]
    return results


ENGINE = (
    Measurement(
        "peers-a", "width 384: ours, kronfluence, bergson", 620, lambda run, quick: peers(run, quick, "a")
    ),
    Measurement(
        "peers-b",
        "widths of SmolLM2: ours, kronfluence, bergson",
        900,
        lambda run, quick: peers(run, quick, "b"),
    ),
    Measurement("eigh", "eigendecompositions: ours, kronfluence", 90, eigh),
    Measurement("levels", "instances, tokens by position and by loss term", 100, levels),
    Measurement("queries", "64 single queries", 210, queries),
    Measurement("growth", "exponents with rows, length, width, depth, queries", 150, growth),
    Measurement("peaks", "memory of each stage beside what is planned, three shapes", 60, peaks),
)
CORPUS = (Measurement("corpus", "a million rows from files to a mixture: ours, datatrove", 1500, corpus),)


SUITES = {"engine": ENGINE, "corpus": CORPUS}
