"""`make bench`: run measurements, print the table, write benchmarks/results.json."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.machine import described, offline_environment
from benchmarks.measurements import SUITES, Measurement
from benchmarks.results import Result, table, write
from benchmarks.workloads import MadeRows, Workload

RESULTS = Path(__file__).with_name("results.json")
LOG_LINES = 30  # of a process that failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 0 whether or not bars hold, 1 if a measurement failed."""
    asked = _parsed(arguments)
    chosen = _chosen(asked)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(_cost(chosen, asked.quick))
    try:
        results = _measured(chosen, asked.quick, console)
    except subprocess.CalledProcessError as error:
        console.print("[red]failed[/]; it said last:")
        console.print("\n".join(str(error.stderr).splitlines()[-LOG_LINES:]), markup=False)
        return 1
    console.print(table(results))
    if asked.quick:
        console.print("tiny sizes: only that it runs and that the libraries agree is meant. Nothing written.")
    else:
        console.print("written to benchmarks/results.json")
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--suite", choices=SUITES, default="engine", help="what is measured (engine)")
    names = [one.name for suite in SUITES.values() for one in suite]
    parser.add_argument("--only", choices=names, help="one measurement")
    return parser.parse_args(arguments)


def _chosen(asked: argparse.Namespace) -> list[Measurement]:
    if asked.only is None:
        return list(SUITES[asked.suite])
    return [one for suite in SUITES.values() for one in suite if one.name == asked.only]


def _cost(chosen: Sequence[Measurement], quick: bool) -> str:
    minutes = sum(one.seconds for one in chosen) / 60
    took = (
        "two minutes, most of it imports, at tiny sizes"
        if quick
        else f"about {minutes:.0f} minutes on two quiet cores"
    )
    return f"{len(chosen)} measurements, {took}; up to 6 GB of memory, 1 GB of temporary files"


def _measured(chosen: Sequence[Measurement], quick: bool, console: Console) -> list[Result]:
    results: list[Result] = []
    for number, measurement in enumerate(chosen, 1):
        console.print(f"[{number}/{len(chosen)}] {measurement.name}: {measurement.what}", markup=False)

        def run_side(side: str, workload: Workload | MadeRows, **options: object) -> dict[str, Any]:
            console.print(f"    {side} {workload.name}: ", end="")
            start = time.perf_counter()
            reply = run_apart(side, workload, options)
            console.print(f"{time.perf_counter() - start:.1f} s with imports")
            return reply

        found = measurement.run(run_side, quick)
        if not quick:
            write(RESULTS, measurement.name, *described(), found)
        results += found
    return results


def run_apart(side: str, workload: Workload | MadeRows, options: dict[str, object]) -> dict[str, Any]:
    """Run one side in a process of its own and return its reply.

    Raises
    ------
    CalledProcessError
        With all that the process said, if it fails.
    """
    with TemporaryDirectory() as folder:
        request, reply = Path(folder, "request.json"), Path(folder, "reply.json")
        request.write_text(json.dumps({"side": side, "workload": asdict(workload), "options": options}))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.sides", request, reply],
            env=offline_environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(reply.read_text())


if __name__ == "__main__":
    sys.exit(main())
