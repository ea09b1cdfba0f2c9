"""Pushing to a hub: the data set is made, all files are one commit, refusals are a sentence.

The stand-in takes small files as a hub does; large ones go by Xet there, which is not tried.
"""

import base64
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest

from infra_core.errors import DataError, RequestError
from infra_core.hub import push_dataset
from tests.hub import visit


class _Handler(BaseHTTPRequestHandler):
    hub: SimpleNamespace

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.hub.asked.append(self.path)
        if self.hub.refuses:
            self._answer(403, {"error": "no"})
        elif self.path == "/api/repos/create":
            self.hub.made.append(json.loads(said))
            self._answer(200, {"url": f"{self.hub.endpoint}/datasets/org/rows"})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(said)["files"]
            ]
            self._answer(200, {"files": files})
        elif "/commit/" in self.path:
            self.hub.commits.append([json.loads(line) for line in said.splitlines()])
            address = f"{self.hub.endpoint}/datasets/org/rows/commit/abc"
            self._answer(200, {"commitUrl": address, "commitOid": "abc"})
        else:  # the card's front matter, which a hub looks at first
            self._answer(200, {"errors": [], "warnings": []})

    def _answer(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def taking_hub():
    hub = SimpleNamespace(endpoint="", asked=[], made=[], commits=[], refuses=False, naps=[])
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with taking_hub() as hub:
        visit(hub, tmp_path / "cache", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", "hf_made_up")
        yield hub


def files(folder):
    (folder / "README.md").write_text("# rows\n")
    (folder / "train.jsonl").write_text('{"messages": []}\n')
    return {"README.md": folder / "README.md", "data/train.jsonl": folder / "train.jsonl"}


def test_the_data_set_is_made_and_all_files_are_one_commit(hub, tmp_path):
    place = push_dataset("org/rows", files(tmp_path))
    assert place == f"{hub.endpoint}/datasets/org/rows"
    assert [(made["organization"], made["name"], made["type"]) for made in hub.made] == [
        ("org", "rows", "dataset")
    ]
    [commit] = hub.commits
    sent = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in commit
        if line["key"] == "file"
    }
    assert sent == {"README.md": b"# rows\n", "data/train.jsonl": b'{"messages": []}\n'}


def test_a_hub_that_refuses_is_told_in_a_sentence(hub, tmp_path):
    hub.refuses = True
    with pytest.raises(DataError, match=r"data set org/rows: the hub shows no such repository \(403\)"):
        push_dataset("org/rows", files(tmp_path))


def test_a_name_that_is_none_is_refused_before_anything_is_asked(hub, tmp_path):
    with pytest.raises(RequestError, match="write hf://datasets/org/name"):
        push_dataset("rows", files(tmp_path))
    assert hub.asked == []
