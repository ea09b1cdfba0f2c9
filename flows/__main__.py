"""The `infra` command: thin; every subcommand is one call into a flow or the store."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from infra_core.errors import InfraError, RequestError
from infra_core.runtime.redaction import redacted
from infra_core.training.place import Sharding

PORT = 4200  # Prefect's own

# Before Prefect is imported anywhere: an ephemeral server must be quiet, patient and offline. Before torch is
# imported: threads that wait must sleep, not spin, or a busy neighbour slows small models twentyfold.
for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,flows,infra_core",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
}.items():
    os.environ.setdefault(_name, _value)

app = typer.Typer(
    help="Find which chain-of-thought examples, steps and tokens teach a model, and curate by it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

RECIPES = Path(__file__).resolve().parents[1] / "deployments" / "recipes"

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Name in deployments/recipes/ or path.")]
StoreUrl = Annotated[str, typer.Option("--store", envvar="INFRA_STORE", help="file://, s3:// or gs://.")]
AsJson = Annotated[bool, typer.Option("--json", help="Make the last line of stdout one JSON object.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto for the best there is.")]
Rehearse = Annotated[bool, typer.Option(help="Shrunk widths and stand-in rows: the same code in minutes.")]
Processes = Annotated[int, typer.Option(min=1, help="That train together, each on a device of its own.")]
HowDivided = Annotated[
    Sharding, typer.Option("--sharding", help="Each of them holds the whole model, or a share.")
]
AtOnce = Annotated[int, typer.Option(min=1, help="Arms that are trained side by side on a processor.")]
Workers = Annotated[int, typer.Option(min=1, help="That share fitting, scoring and sampling.")]
Cluster = Annotated[str, typer.Option(help="Where they are: processes, dask, ray, tcp://…, ray://….")]
StageHours = Annotated[float | None, typer.Option(help="Longest time that one stage may take.")]
Port = Annotated[int, typer.Option(envvar="INFRA_PORT", help="Of the Prefect server, on loopback.")]
Uri = Annotated[str, typer.Argument(metavar="URI", help="Of an artifact, as `infra curate` prints it.")]


def recipe_path(name: str) -> Path:
    """Return the file of a recipe given by name or path.

    Raises
    ------
    RequestError
        If there is neither, naming what there is.
    """
    shipped = RECIPES / f"{name}.yaml"
    found = shipped if shipped.is_file() else Path(name)
    if not found.is_file():
        known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
        raise RequestError(f"no recipe {name!r}: it is no file, and deployments/recipes/ has {known}")
    return found.resolve()


@app.command()
def curate(  # noqa: PLR0913 - options of a command
    recipe: RecipeName,
    store: StoreUrl = "file://./store",
    device: Device = "auto",
    rehearse: Rehearse = False,
    processes: Processes = 1,
    sharding: HowDivided = "ddp",
    at_once: AtOnce = 1,
    workers: Workers = 1,
    cluster: Cluster = "processes",
    stage_hours: StageHours = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe from raw corpus to report; what is in the store already is reused."""
    path = _checked(recipe, store)
    from flows.deployed import curate as flow
    from flows.resources import asked

    resources = asked(
        device=device, processes=processes, sharding=sharding, at_once=at_once,
        workers=workers, cluster=cluster, stage_hours=stage_hours,
    )  # fmt: skip
    _run(flow, as_json, recipe=path, store=store, rehearse=rehearse, resources=resources)


@app.command()
def validate(
    recipe: RecipeName,
    store: StoreUrl = "file://./store",
    device: Device = "auto",
    rehearse: Rehearse = False,
    workers: Workers = 1,
    cluster: Cluster = "processes",
    as_json: AsJson = False,
) -> None:
    """See whether a recipe's scores are true: retrain on subsets of its corpus, and compare with rivals."""
    path = _checked(recipe, store, lambda given: given.require_validity())
    from flows.deployed import validate as flow
    from flows.resources import asked

    resources = asked(device=device, workers=workers, cluster=cluster)
    _run(flow, as_json, recipe=path, store=store, rehearse=rehearse, resources=resources)


@app.command()
def ask(
    recipe: RecipeName,
    store: StoreUrl = "file://./store",
    device: Device = "auto",
    rehearse: Rehearse = False,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Ask an index of a recipe's corpus new questions; only rows that it does not have yet are passed."""
    path = _checked(recipe, store, lambda given: given.require_index())
    from flows.ask import ask as flow
    from flows.resources import asked

    resources = asked(device=device, workers=workers)
    _run(flow, as_json, recipe=path, store=store, rehearse=rehearse, resources=resources)


def _checked(recipe: str, store: str, require: Callable[[Any], object] = lambda _: None) -> str:
    """Return the path of a recipe; a wrong request is refused before a server is started for it."""
    from infra_core.recipe import Recipe
    from infra_core.store.store import ArtifactStore

    path = recipe_path(recipe)
    require(Recipe.load(path))
    ArtifactStore(store).probe()
    return str(path)


def _run(flow: Callable[..., Any], as_json: bool, **given: Any) -> None:
    """Run a flow and say what it came to."""
    from flows.terminal import print_result

    result = flow(**given, return_state=True).result()
    print_result(result)
    if as_json:
        typer.echo(json.dumps(result.as_json()))


@app.command()
def up(
    run: Annotated[str, typer.Option(help="Then run this recipe and follow it to its end.")] = "",
    store: Annotated[str, typer.Option(help="Of that run; by default what INFRA_STORE says.")] = "",
    port: Port = PORT,
) -> None:
    """Bring up server, worker and deployments on this machine; what is up already is left as it is."""
    from flows.workstation import up as bring_up

    started = bring_up(port, typer.echo, f"curate/{run}" if run else "", store)
    if started is not None:
        from flows.server import follow

        sys.exit(0 if follow(started, typer.echo) else 1)


@app.command()
def deploy(port: Port = PORT) -> None:
    """Put pool, automations and deployments on the server of PREFECT_API_URL; start nothing here."""
    from flows.workstation import deploy as put

    put(port, typer.echo)


@app.command()
def down(port: Port = PORT) -> None:
    """Stop what `infra up` started here; the next `up` takes up runs that were under way."""
    from flows.workstation import down as take_down

    take_down(port, typer.echo)


@app.command()
def plan(
    recipe: RecipeName,
    memory: Annotated[
        str, typer.Option(help="Of one device (80GB), or its name (h100); else this one.")
    ] = "",
    devices: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
    validation: Annotated[
        bool, typer.Option("--validation", help="Of `infra validate` in place of `infra curate`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a run will cost before it starts. Needs no weights and no data."""
    from flows.plan import plan_recipe
    from flows.terminal import print_plan
    from infra_core.recipe import Recipe

    planned = plan_recipe(Recipe.load(recipe_path(recipe)), memory, devices, to_validate=validation)
    print_plan(planned)
    if as_json:
        typer.echo(json.dumps(planned.as_json()))


@app.command()
def publish(
    recipe: RecipeName,
    arm: Annotated[str, typer.Option(help="Whose mixture; keep_all is the corpus as it is.")],
    store: StoreUrl = "file://./store",
    to: Annotated[str, typer.Option(help="hf://datasets/org/name, a path, or another fsspec URL.")] = "",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Write a mixture as a data set with a card; trains only if its rule decides by influence."""
    path = _checked(recipe, store)
    from prefect.states import State

    from flows.publish import publish as flow

    state = flow(recipe=path, arm=arm, store=store, to=to, device=device, return_state=True)
    artifact, place = cast(State, state).result()
    typer.echo(f"published: {place}")
    if as_json:
        typer.echo(json.dumps({"artifact": artifact.uri, "published": place}))


@app.command()
def verify(store: StoreUrl = "file://./store") -> None:
    """Hash every part of every artifact against its manifest; exit 1 if one is damaged."""
    from infra_core.store.store import ArtifactStore
    from infra_core.store.verify import verify_store

    found = verify_store(ArtifactStore(store))
    for line in found.damaged:
        typer.echo(line)
    typer.echo(f"{found.artifacts} artifacts, {found.parts} parts, {len(found.damaged)} damaged")
    sys.exit(1 if found.damaged else 0)


@app.command()
def gc(
    store: StoreUrl = "file://./store",
    keep: Annotated[int, typer.Option(min=1, help="Newest reports and publications of each recipe.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(metavar="URI", help="Keep these artifacts instead.")
    ] = None,
    hours: Annotated[float, typer.Option(min=0, help="What changed within these is kept as well.")] = 24,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is only listed.")] = False,
) -> None:
    """List, or remove, what no kept report was made from."""
    from flows.retention import collect
    from flows.terminal import print_collected

    print_collected(collect(store, keep, tuple(only or ()), hours, remove_them=yes))


@app.command()
def lineage(uri: Uri) -> None:
    """Print an artifact and everything it was made from."""
    from flows.terminal import print_lineage

    print_lineage(uri)


@app.command()
def show(uri: Uri) -> None:
    """Print what is in an artifact: manifest, parts, and a view of a corpus or mixture or its first rows."""
    from flows.terminal import print_artifact

    print_artifact(uri)


def main() -> None:
    """Run the command; what a person can mend is one line on stderr and an exit code."""
    try:
        code = app(standalone_mode=False)
    except InfraError as error:
        _fail(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command resumes", 130)
    except typer.TyperException as error:  # an argument or option that makes no sense
        _fail(error.format_message() if hasattr(error, "format_message") else str(error), 2)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    typer.echo(f"infra: {redacted(' '.join(message.split()))}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
