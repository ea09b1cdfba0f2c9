"""What a run may use: devices, workers, time. Nothing here changes a result by more than rounding."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra_core.errors import RequestError

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Resources(BaseModel):
    """Devices, processes, workers and time of one run; a parameter of every deployment.

    Attributes
    ----------
    device
        ``cpu``, ``cuda``, or ``auto`` for the best there is.
    processes
        How many train together, each with a device of its own.
    sharding
        ``ddp``: each holds the whole model; ``fsdp``: its share.
    at_once
        How many arms are trained side by side on this machine's processor.
    workers
        How many share fitting, scoring and sampling, each taking some of the layers or parts.
    cluster
        Where these workers are: ``processes`` of this machine; ``dask`` or ``ray``, a cluster of this machine
        for the time of a stage; or the address of one that runs, ``tcp://host:8786`` (Dask) or
        ``ray://host:10001``.
    stage_hours
        Longest time that one stage may take; no limit by default.
    price_per_hour
        Of all that the run occupies, in the currency of your choice; the run's page then shows what each
        stage cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = "auto"
    processes: Count = 1
    sharding: Literal["ddp", "fsdp"] = "ddp"
    at_once: Count = 1
    workers: Count = 1
    cluster: Annotated[str, Field(pattern=r"^(processes|dask|ray|(tcp|tls|ray)://\S+)$")] = "processes"
    stage_hours: Positive | None = None
    price_per_hour: Positive | None = None


def asked(**given: Any) -> Resources:
    """Return the resources that a person asked for.

    Raises
    ------
    RequestError
        Naming what cannot be had so.
    """
    try:
        return Resources(**given)
    except ValidationError as error:
        faults = "; ".join(
            f"{fault['loc'][0]}: {fault['msg']}, not {fault['input']!r}" for fault in error.errors()
        )
        raise RequestError(f"resources: {faults}") from error
