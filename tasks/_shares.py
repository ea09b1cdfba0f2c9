"""Work that is divided by parts: done here, or shared out to workers elsewhere, each a mapped task.

The stage run holds the lease and writes the manifest; workers write parts on its behalf, and prove before
each that it still holds it (`infra_core.store.fence`). A worker that is lost loses the part it was at: the
stage is tried again, and asks what is missing.
"""

import heapq
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

import torch
from prefect import task
from prefect.context import FlowRunContext
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from infra_core.errors import RequestError, UnreachableError
from infra_core.runtime import WorkerLost
from infra_core.store.fence import Handed
from infra_core.store.workdir import WorkDir, taken_over
from tasks._stage import PATIENT, RunContext, failed, placing_errors, run_here

Work = Callable[..., None]
"""A module's function ``work(ctx, out, units, given)`` that writes the parts of its units."""

_LOST = {"BrokenProcessPool", "KilledWorker", "CrashedRun", "WorkerCrashedError", "CommClosedError"}
"""By name, as their libraries may not be there."""

_RAY = {"RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""What Ray is told before it is loaded: keep lines that differ in a number, and tell nobody of the run."""

_crews: dict[tuple[str, int], tuple[ExitStack, TaskRunner[Any]]] = {}


def share_out(
    ctx: RunContext,
    out: WorkDir,
    work: Work,
    units: Sequence[Any],
    given: Any,
    effort: Callable[[Any], float] | None = None,
) -> None:
    """Do `work` on all units: here if there is one worker, else in as many shares as there are workers.

    Units must be such that any two may be done by different workers, and done twice without harm. What
    workers meet is raised when the others came to their end; a worker that died as `WorkerLost`.

    Parameters
    ----------
    work
        A function of a module, called with context, folder, units and `given`.
    units
        What there is to do.
    given
        What it needs beside; travels to the workers.
    effort
        About what a unit takes, in any measure; by default all take the same.
    """
    if not units:
        return
    shares = dealt(units, min(ctx.workers, len(units)), effort or (lambda _: 1.0))
    if len(shares) == 1 or not is_shared(ctx):
        work(replace(ctx, workers=1), out, units, given)
        return
    with _crew(ctx) as crew, _devices(ctx):
        handed, told = out.hand_over(), f"{run_here()} %d of {len(shares)}"
        futures = [
            crew.submit(
                _share.with_options(task_run_name=told % (number + 1)),
                {"ctx": _at(ctx, number), "handed": handed, "work": work, "units": share, "given": given},
            )
            for number, share in enumerate(shares)
        ]
        met = [error for future in futures if (error := _take_back(out, future)) is not None]
        for error in sorted(met, key=_is_passing):
            raise error


def dealt(units: Sequence[Any], count: int, effort: Callable[[Any], float]) -> list[list[Any]]:
    """Deal units out so that all shares take about as long, each in the order that was given.

    The dearest unit comes first, each to the share that has least: Graham 1969's rule, at most a third above
    the best that can be done.

    Examples
    --------
    >>> dealt([1, 8, 2, 3, 4], 2, float)
    [[1, 8], [2, 3, 4]]
    """
    efforts = [effort(unit) for unit in units]
    places: list[list[int]] = [[] for _ in range(count)]
    waiting = [(0.0, share) for share in range(count)]
    for place in sorted(range(len(units)), key=lambda place: -efforts[place]):
        taken, share = heapq.heappop(waiting)
        places[share].append(place)
        heapq.heappush(waiting, (taken + efforts[place], share))
    return [[units[place] for place in sorted(own)] for own in places]


def is_shared(ctx: RunContext) -> bool:
    """Whether there are workers to share work out to, and a store that they can reach."""
    in_a_run = FlowRunContext.get() is not None
    return ctx.workers > 1 and in_a_run and not ctx.store.root.startswith("memory:")


def is_seen(ctx: RunContext, uri: str) -> bool:
    """Whether workers see a file: not one in our memory, nor, if they are elsewhere, one on our disk."""
    elsewhere = "://" in ctx.cluster
    return not uri.startswith(("memory:", "file:") if elsewhere else "memory:")


def _take_back(out: WorkDir, future: Any) -> Exception | None:
    """Wait for a share and account for what it wrote; return what it failed with."""
    try:
        out.take_back(future.result())
    except Exception as error:  # noqa: BLE001 - raised by the caller, after the others came to their end
        if type(error).__name__ not in _LOST:
            return error
        told = f"a worker was lost ({type(error).__name__}: {error}); what it wrote is kept"
        return WorkerLost(told)
    return None


@contextmanager
def workers_at_hand() -> Iterator[None]:
    """Keep the workers of a run from stage to stage; they start when there is something to share out."""
    try:
        yield
    finally:
        for place in list(_crews):
            _crews.pop(place)[0].close()


@task(name="share", **PATIENT)
def _share(ctx: RunContext, handed: Handed, work: Work, units: list[Any], given: Any) -> Any:
    """Do some units of a stage, in a worker."""
    _end_with_parent()
    if ctx.device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // ctx.workers))
    torch.manual_seed(0)
    try:
        with taken_over(handed) as out, placing_errors(out, handed.stage):
            work(replace(ctx, workers=1), out, units, given)
            return out.written()
    except Exception as error:  # noqa: BLE001 - told by the state, and tried again if that may help
        return failed(error)


@contextmanager
def _crew(ctx: RunContext) -> Iterator[TaskRunner[Any]]:
    place = ctx.cluster, ctx.workers
    if place not in _crews:
        stack = ExitStack()
        stack.enter_context(_server_named())
        _crews[place] = stack, stack.enter_context(_runner(ctx))
    try:
        yield _crews[place][1]
    except BaseException as error:
        # Lost workers are replaced; those of a run that is cancelled do not work on.
        if isinstance(error, WorkerLost) or not isinstance(error, Exception):
            for child in multiprocessing.active_children():
                child.terminate()
            _crews.pop(place)[0].close()
        raise


@contextmanager
def _server_named() -> Iterator[None]:
    """Name the run's server to the processes that are started; each would start one of its own otherwise."""
    run, known = FlowRunContext.get(), os.environ.get(_SERVER)
    if run is None or known is not None:
        yield
        return
    os.environ[_SERVER] = str(run.client.api_url).rstrip("/")
    try:
        yield
    finally:
        del os.environ[_SERVER]


def _runner(ctx: RunContext) -> TaskRunner[Any]:
    """Return the task runner that a context asks for.

    Raises
    ------
    RequestError
        If its library is not installed.
    """
    for name, value in _RAY.items():
        os.environ.setdefault(name, value)
    try:
        match ctx.cluster.partition("://"):
            case "processes", _, _:
                return ProcessPoolTaskRunner(max_workers=ctx.workers)
            case "dask", _, _:
                from prefect_dask import DaskTaskRunner

                local = {"n_workers": ctx.workers, "threads_per_worker": 1, "dashboard_address": None}
                return DaskTaskRunner(cluster_kwargs=local)
            case (("tcp" | "tls"), _, _):
                from prefect_dask import DaskTaskRunner

                return DaskTaskRunner(address=ctx.cluster)
            case "ray", "", _:
                from prefect_ray import RayTaskRunner

                local = {"num_cpus": ctx.workers, "include_dashboard": False}
                return RayTaskRunner(init_kwargs=local)
            case "ray", _, _:
                from prefect_ray import RayTaskRunner

                return RayTaskRunner(address=ctx.cluster)
    except ImportError as error:
        raise RequestError(
            f"cluster {ctx.cluster} cannot be used ({error}); pip install 'infra[dask]' or 'infra[ray]'"
        ) from error
    raise RequestError(f"cluster {ctx.cluster!r} is none of processes, dask, ray, tcp://…, ray://…")


def _at(ctx: RunContext, number: int) -> RunContext:
    """Return the context of one worker: on this machine, each has a device of its own."""
    if ctx.device != "cuda" or ctx.cluster != "processes":
        return ctx
    return replace(ctx, device=f"cuda:{number % max(1, torch.cuda.device_count())}")


def _devices(ctx: RunContext) -> AbstractContextManager[object]:
    """Let Ray, which hides the devices of whoever did not ask for some, give one to each share."""
    if ctx.device != "cuda" or not ctx.cluster.startswith("ray"):
        return nullcontext()
    from prefect_ray.context import remote_options

    return remote_options(num_gpus=1)


def _is_passing(error: Exception) -> bool:
    """Whether trying again may help; what a person must mend is told first."""
    return isinstance(error, OSError | UnreachableError)


def _end_with_parent() -> None:
    """Let a process of a pool end when the one that made it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is None or any(thread.name == _WATCH for thread in threading.enumerate()):
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name=_WATCH, daemon=True).start()


_WATCH = "end with parent"
_SERVER = "PREFECT_API_URL"
