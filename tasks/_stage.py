"""`@stage`: a plain function becomes a resumable Prefect task. The only bridge between the two worlds."""

import errno
import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import torch
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from infra_core.errors import InfraError, RequestError, StoreError, TimeLimitError, UnreachableError
from infra_core.runtime.redaction import redacted
from infra_core.store.artifact import Artifact
from infra_core.store.provenance import provenance
from infra_core.store.store import ArtifactStore, WorkDir
from infra_core.training.place import Sharding

logger = logging.getLogger(__name__)

STAGES: dict[str, "Stage"] = {}
"""Every stage by name, filled by `@stage`; golden numbers and the documents are checked against it."""


@dataclass(frozen=True)
class RunContext:
    """How and where a run happens. Nothing here may change a result, so nothing here is hashed.

    Attributes
    ----------
    micro_batch_tokens
        Positions in one forward pass; bounds the memory of training, fitting and scoring. Moves results by
        rounding, so it is planned from recipe and device alone: a resumed run cuts its batches as before.
    factor_bytes
        What factors and directions of queries may take of the device, beside the model and its passes. What
        does not fit is done some layers at a time, with the same bits; None for no limit.
    pass_bytes
        What a pass holds there, which is free again when covariances are decomposed.
    on_host
        Whether passes for influence leave the weights of the model's layers on the host and copy them layer
        by layer: planned where there is no room for the whole model, and changes no bit.
    save_seconds
        At most this much training is lost to a kill, or ten times what saving takes.
    processes
        How many train together, each with a device of its own; what else is divided, `workers` divide.
    sharding
        Whether each of them holds the whole model (``ddp``) or its share (``fsdp``).
    at_once
        How many arms are trained side by side, each in processes of its own.
    recompute
        Whether training keeps the inputs of layers only and computes the rest again; planned, and changes no
        bit.
    workers, cluster
        How many share what is divided by parts or layers, and where: `tasks._shares`, `tasks._fits`.
    stage_seconds
        Longest time that a stage may take; None for no limit.
    sizes
        Gives the fields above that are planned. To plan takes seconds, so the first stage that is built asks.
    """

    store: ArtifactStore
    device: str = "cpu"
    micro_batch_tokens: int = 16_384
    factor_bytes: int | None = None
    pass_bytes: int = 0
    on_host: bool = False
    save_seconds: float = 60.0
    processes: int = 1
    sharding: Sharding = "ddp"
    at_once: int = 1
    recompute: bool = False
    workers: int = 1
    cluster: str = "processes"
    stage_seconds: float | None = None
    sizes: Callable[[], Mapping[str, Any]] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, store: str, device: str = "auto", processes: int = 1) -> "RunContext":
        """Return the context of a run on this machine, with a run id of its own.

        Raises
        ------
        RequestError
            If there are fewer devices than processes.
        """
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        if chosen != "cpu" and processes > (there := torch.cuda.device_count()):
            raise RequestError(
                f"{processes} processes need as many devices and {there} are here; ask for those"
            )
        run = {"run": uuid4().hex[:12], "device": chosen, "processes": str(processes)}
        return cls(
            store=ArtifactStore(store), device=chosen, processes=processes, provenance={**provenance(), **run}
        )

    def sized(self) -> "RunContext":
        """Return the context with all that is planned in its place."""
        return self if self.sizes is None else replace(self, sizes=None, **self.sizes())

    @property
    def run_id(self) -> str:
        """Of the run that this context belongs to; a manifest with another run's id was reused."""
        return self.provenance.get("run", "")


@dataclass(frozen=True)
class Stage:
    """A named, versioned function whose finished output is remembered in the store.

    Calling it returns the artifact, building what is missing of it. Inside a flow the call is a Prefect
    task run; an artifact that was already whole ends that run in a state called *Reused*.
    """

    name: str
    version: int
    fn: Callable[..., None]
    task: Task[..., Any]

    def __call__(self, ctx: RunContext, *, label: str = "", **given: Any) -> Artifact:
        """Return the artifact of this stage for the given inputs and params; `label` only names the run."""
        if FlowRunContext.get() is None:
            return outcome(self.task.fn(ctx, **given))
        task = self._named(ctx, label)
        return outcome(task(ctx, return_state=True, **given), task.task_run_name)

    def map(self, ctx: RunContext, calls: Mapping[str, Mapping[str, Any]]) -> dict[str, Artifact]:
        """Call once for every label, at most `ctx.at_once` at a time, and return the artifacts by label.

        If one fails the others still come to their end; then its error is raised.
        """
        if FlowRunContext.get() is None or ctx.at_once == 1:
            return {label: self(ctx, label=label, **given) for label, given in calls.items()}
        runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=ctx.at_once)
        with runner:
            futures = {
                label: runner.submit(self._named(ctx, label), {"ctx": ctx, **given})
                for label, given in calls.items()
            }
            for future in futures.values():
                future.wait()
        return {label: outcome(future.state, f"{self.name} {label}") for label, future in futures.items()}

    def _named(self, ctx: RunContext, label: str) -> Task[..., Any]:
        name = f"{self.name} {label}".strip()
        return self.task.with_options(task_run_name=name, timeout_seconds=ctx.stage_seconds)


def outcome(state: Any, name: Any = "") -> Artifact:
    """Return the artifact that a finished task run, called `name`, or a direct call came to.

    Raises
    ------
    TimeLimitError
        If its time was over.
    """
    if isinstance(state, State) and state.name == "TimedOut":
        raise TimeLimitError(
            f"stage {name}: {state.message}; what it finished is kept: find out what holds it up, or give it "
            "more by stage_hours"
        )
    return state.result() if isinstance(state, State) else state


def flatten_inputs(given: Mapping[str, Any]) -> Iterator[tuple[str, Artifact]]:
    """Yield every artifact among a stage's arguments under a stable name; mappings nest with a dot."""
    for name, value in given.items():
        if isinstance(value, Artifact):
            yield name, value
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", artifact) for inner, artifact in flatten_inputs(value))


def _is_transient(_task: Any, _run: Any, state: State) -> bool:
    # What a person must mend (an InfraError), bugs and time limits fail at once; only the world outside is
    # retried, which may be better later.
    error = state.result(raise_on_failure=False)
    return isinstance(error, UnreachableError) or (
        isinstance(error, OSError) and not isinstance(error, TimeoutError)
    )


PATIENT: dict[str, Any] = {
    "retries": 5,
    # 4, 8, 16, 32, 64 s, each half as long at least: more than the minute that a server is started again in.
    "retry_delay_seconds": exponential_backoff(backoff_factor=4),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _is_transient,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""How every task of ours is tried again."""


def run_here() -> str:
    """Return the name of the task run that this is, e.g. ``train flip 1``; empty outside of one."""
    run = TaskRunContext.get()
    return run.task_run.name if run is not None else ""


def placed(error: BaseException) -> str:
    """Return what an error says, behind the stage and part that it came up in; it tells no secret."""
    return redacted(": ".join([*getattr(error, "__notes__", [])[:1], str(error) or type(error).__name__]))


def failed(error: Exception) -> State[Exception]:
    """Return the state of what an error ended. Prefect's own would hold the error's words as they are.

    A state is enough where a person can mend it; of anything else the traceback is logged.
    """
    if not isinstance(error, InfraError):
        logger.error("%s", placed(error), exc_info=error)
    return Failed(message=placed(error), data=error)


@contextmanager
def placing_errors(out: WorkDir, name: str) -> Iterator[None]:
    """Note on whatever is raised which stage and part it came up in; the innermost note stays first.

    Raises
    ------
    StoreError
        If a disk is full, which every library says in its own way.
    """
    try:
        try:
            yield
        except Exception as error:
            full = [line.strip() for line in str(error).splitlines() if os.strerror(errno.ENOSPC) in line]
            if isinstance(error, InfraError) or not full:
                raise
            raise StoreError(
                f"a disk of this machine is full ({full[0]}); free some space and run again: "
                "what is whole is kept"
            ) from error
    except Exception as error:
        part = out.awaited()
        error.add_note(f"stage {run_here() or name}" + (f", part {part}" if part else ""))
        raise


def stage(*, version: int) -> Callable[[Callable[..., None]], Stage]:
    """Make `fn(ctx, out, *, <inputs: Artifact>, params)` a stage that returns an `Artifact`.

    Arguments that are artifacts, or mappings of artifacts, are inputs; `params` is identity. Raise
    `version` in the same commit as any change to the numbers `fn` writes.
    """

    def decorate(fn: Callable[..., None]) -> Stage:
        name, signature = fn.__name__, inspect.signature(fn)

        def run(ctx: RunContext, **given: Any) -> Any:
            params, inputs = given.get("params"), dict(flatten_inputs(given))
            artifact = ctx.store.address(name, version, params, inputs)
            if ctx.store.finished(artifact):
                logger.info("%s: reused %s", name, artifact.uri)
                return Completed(name="Reused", message=f"already at {artifact.uri}", data=artifact)

            def build(out: WorkDir) -> None:
                torch.manual_seed(0)  # whatever forgets to ask for its own generator is at least repeatable
                with placing_errors(out, name):
                    fn(sized, out, **given)

            try:
                sized = ctx.sized()
                ctx.store.materialize(name, version, params, inputs, build, ctx.provenance)
            except TimeoutError:  # Prefect's own, which ends what took too long
                raise
            except Exception as error:  # noqa: BLE001 - told by the state, and tried again if that may help
                return failed(error)
            logger.info("%s: built %s", name, artifact.uri)
            return artifact

        kept = [parameter for parameter in signature.parameters.values() if parameter.name != "out"]
        run.__signature__ = signature.replace(parameters=kept, return_annotation=Any)  # type: ignore[attr-defined]
        run.__doc__, run.__name__ = fn.__doc__, name
        wrapped = task(name=name, **PATIENT)(run)
        STAGES[name] = Stage(name, version, fn, wrapped)
        return STAGES[name]

    return decorate
