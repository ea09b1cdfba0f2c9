"""One machine from nothing: Prefect server, worker and deployments; started once, stopped exactly.

Loads nothing of Prefect until its settings are in the environment. Worker and deployments are loaded while
the server comes up, and held until it is there and orphans are judged (`flows.held`).
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from infra_core.errors import RequestError
from infra_core.runtime.services import Services

HOME = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
POOL = "local"
AUTOMATIONS = HOME / "deployments" / "automations.yaml"
START_SECONDS = 180.0
DEPLOY = ("--no-prompt", "deploy", "--all")
PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "7"}  # pauses of 2 to 128 s: a busy SQLite is answered 503

Say = Callable[[str], None]


@dataclass(frozen=True)
class Workstation:
    """What `infra up` brings up and `infra down` takes down.

    Attributes
    ----------
    state
        Folder of process ids, logs and Prefect's database.
    url
        Of the server's API.
    is_ours
        Whether the server is one of this machine, started here if it is not up.
    """

    state: Path
    url: str
    is_ours: bool

    @classmethod
    def here(cls, port: int) -> "Workstation":
        """Return this machine's; its server is the one of ``PREFECT_API_URL``, where that is set."""
        state = Path(os.environ.get("INFRA_STATE", HOME / ".infra")).absolute()
        ours = f"http://{HOST}:{port}/api"
        url = os.environ.get("PREFECT_API_URL", ours).rstrip("/")
        return cls(state, url, url == ours)

    @property
    def gate(self) -> Path:
        """The file that worker and deployments wait for."""
        return self.state / "open"

    @property
    def services(self) -> Services:
        """The processes that were started for it."""
        return Services(self.state)

    def enter(self) -> None:
        """Put Prefect's settings into the environment, where a person has not set them otherwise."""
        settings = {
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_SERVER_UI_V2_ENABLED": "false",  # it asks the network on every page
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # of what deployments/automations.yaml waits for
            "INFRA_HOME": str(HOME),
            "INFRA_PYTHON": sys.executable,  # of runs: see flows/server.py
        }
        for name, value in settings.items():
            os.environ.setdefault(name, value)
        known = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HOME), *filter(None, [known])])


def up(port: int, say: Say, run: str = "", store: str = "") -> Any:
    """Bring up whatever is not up: server, pool, worker, deployments; reschedule runs that a crash orphaned.

    Returns the run that was started, if one was asked for: as soon as its own deployment is there.

    Raises
    ------
    RequestError
        If the server does not come up or does not answer.
    """
    machine = Workstation.here(port)
    machine.enter()
    with machine.services.alone():
        machine.gate.unlink(missing_ok=True)
        comes_up = _start_server(machine, port, say)
        worker, deploying = _start_worker(machine), _start(_held(machine, *DEPLOY))
        from flows import server  # only now: Prefect reads its settings when it is loaded

        if comes_up:
            _await_server(machine, port, say)
        server.prepare(POOL, AUTOMATIONS, say)
        server.take_up_orphans(POOL, worker_name(), say)
        machine.gate.touch()
        say(worker)
        with ThreadPoolExecutor(1) as aside:
            deployed = aside.submit(_deployed, deploying)
            started = server.start_run(run, store, deployed, say) if run else None
            say(deployed.result())
    page = machine.url.removesuffix("/api")
    say(f"look at {page}; for Prefect's own commands: export PREFECT_API_URL={machine.url}")
    return started


def deploy(port: int, say: Say) -> None:
    """Put pool, automations and deployments on a server that is up; start nothing here.

    Raises
    ------
    RequestError
        If no server answers.
    """
    machine = Workstation.here(port)
    machine.enter()
    if not _answers(machine.url):
        raise RequestError(f"no Prefect server answers at {machine.url}; start it, or run infra up")
    from flows import server  # as above

    server.prepare(POOL, AUTOMATIONS, say)
    say(_deployed(_start(_prefect(*DEPLOY))))


def down(port: int, say: Say) -> None:
    """Stop what `up` started here, and nothing else; runs under way are taken up by the next `up`."""
    machine = Workstation.here(port)
    with machine.services.alone():
        for name in ("worker", "server"):
            stopped = machine.services.stop(name)
            say(f"{name}: stopped" if stopped else f"{name}: was not running")


def worker_name() -> str:
    """Return what this machine's worker is called on the server."""
    return f"infra-{socket.gethostname()}"


def _start_server(machine: Workstation, port: int, say: Say) -> bool:
    """Start the server if none answers; return whether it is to come up.

    Raises
    ------
    RequestError
        If it is somebody else's to start.
    """
    if _answers(machine.url):
        whose = "" if machine.services.running("server") else ", not started from here"
        say(f"server: up at {machine.url}{whose}")
        return False
    if not machine.is_ours:
        raise RequestError(
            f"PREFECT_API_URL is {machine.url} and no Prefect server answers there; start it, or unset the "
            "variable to have one started here"
        )
    prefect = _prefect("server", "start", "--host", HOST, "--port", str(port))
    machine.services.start("server", prefect, env=os.environ, cwd=HOME)
    return True


def _await_server(machine: Workstation, port: int, say: Say) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(machine.url):
        if machine.services.running("server") is None or time.monotonic() > deadline:
            log, words = machine.services.log("server"), machine.services.last_words("server")
            machine.services.stop("server")
            raise RequestError(
                f"no Prefect server came up on port {port}; its last words, from {log}: {words[-600:]}"
            )
        time.sleep(0.1)
    say(f"server: started at {machine.url}, log in {machine.services.log('server')}")


def _start_worker(machine: Workstation) -> str:
    """Start the worker if it does not run, held; return what there is to say of it."""
    has_devices = Path("/dev/nvidia0").exists()
    queues = ["cpu", "gpu"] if has_devices else ["cpu"]
    asked = [word for queue in queues for word in ("--work-queue", queue)]
    of_process = ("--pool", POOL, "--type", "process", "--install-policy", "never")
    held = _held(machine, "worker", "start", "--name", worker_name(), *of_process, *asked)
    started = machine.services.start("worker", held, env=os.environ, cwd=HOME)
    rest = "" if has_devices else "; no GPU here, so runs of queue gpu wait for a worker that has one"
    return f"worker: {'started' if started else 'up'}, queues {' and '.join(queues)}{rest}"


def _start(argv: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        env=PATIENT | os.environ,
        cwd=HOME,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _deployed(deploying: subprocess.Popen[str]) -> str:
    """Wait for `prefect deploy` and return what there is to say of it.

    Raises
    ------
    RequestError
        If it failed, with its last words.
    """
    words, _ = deploying.communicate()
    if deploying.returncode:
        raise RequestError(
            f"prefect deploy --all ended with status {deploying.returncode}: {' '.join(words.split())[-800:]}"
        )
    return "deployments: those of prefect.yaml are in place"


def _answers(url: str) -> bool:
    address = f"{url}/health"
    with suppress(OSError, ValueError), urlopen(address, timeout=2) as answer:  # noqa: S310 - ours or the user's
        return json.loads(answer.read()) is True
    return False


def _held(machine: Workstation, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows.held", str(machine.gate), str(os.getpid()), *arguments]


def _prefect(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]
