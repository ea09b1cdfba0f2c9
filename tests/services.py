"""Servers that tests start for themselves, on loopback only.

A conftest makes the fixture known with ``from tests.services import seaweed`` (or the topmost one with
``pytest_plugins = ["tests.services"]``).
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen
from uuid import uuid4

import fsspec
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BUCKET = "curation"


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 server.

    Attributes
    ----------
    endpoint
        Its address.
    environment
        What a process needs to reach it as the owner, and `reader` as somebody who may only look.
    """

    endpoint: str
    environment: dict[str, str]
    reader: dict[str, str]

    def url(self) -> str:
        """A place in the bucket that nobody else uses."""
        return f"s3://{BUCKET}/{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Start SeaweedFS once a session and point this process and its children at it."""
    if _weed() is None:
        pytest.skip("SeaweedFS is not installed: pip install '.[dev]'")
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3", skip_instance_cache=True).call_s3("create_bucket", Bucket=BUCKET)
        yield server


@contextmanager
def running_seaweed(folder: Path) -> Iterator[ObjectStore]:
    """Run a SeaweedFS server that keeps its data in `folder`; it is gone afterwards."""
    keys = {
        "infra": ("owner", ["Admin", "Read", "Write", "List", "Tagging"]),
        "reader": ("reader", [f"Read:{BUCKET}", f"List:{BUCKET}"]),
    }
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": f"{access}-id", "secretKey": f"{access}-secret"}],
            "actions": actions,
        }
        for name, (access, actions) in keys.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir(exist_ok=True)  # of a server that ran here before, perhaps
    options = [f"{name}.port{kind}" for name in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(options, free_ports(len(options)), strict=True))
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    # The shell reads until we are gone, however we went, and then takes the server with it: it takes 25 s to
    # end on SIGTERM, and nobody needs its data. Where its sockets lie, it lets no one choose.
    sockets = " ".join(f"/tmp/seaweedfs-*-{port}.sock" for port in ports.values())  # noqa: S108
    last = f'"$@" & cat; kill -9 $!; wait; rm -f {sockets}'
    guarded = ["sh", "-c", last, "sh", *_command(folder, ports)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        _wait_for(endpoint, folder / "log")
        yield ObjectStore(endpoint, _environment(endpoint, "owner"), _environment(endpoint, "reader"))
    finally:
        server.communicate()  # closes what the shell reads


def _environment(endpoint: str, access: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": f"{access}-id",
        "AWS_SECRET_ACCESS_KEY": f"{access}-secret",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@cache
def _weed() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    options = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "filer": "true",
        "s3": "true",
        "s3.config": folder / "s3.json",
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.telemetry": "false",
        "master.resumeState": "false",  # a restart would take 15 s instead of 3
        "master.volumeSizeLimitMB": 256,
        "volume.max": 20,
        **ports,
    }
    switches = [f"-{name}={value}" for name, value in options.items()]
    return [_weed() or "weed", "-logtostderr=true", "server", *switches]


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(endpoint: str, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urlopen(endpoint, timeout=2)  # noqa: S310 - our own loopback address
        except HTTPError as answer:
            if answer.code == 403:  # it is up and wants credentials
                return
        except (URLError, OSError):
            pass
        time.sleep(0.1)
    raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-2000:]}")
