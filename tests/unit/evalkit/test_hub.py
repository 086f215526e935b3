"""Benchmark files by name: a small hub on this machine, and none at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evalkit.hub import local_path
from tabwright.errors import InvalidRequest

pytest.importorskip("huggingface_hub")
COMMIT = "a" * 40
FILES = {"data/rows.jsonl": b'{"task_id": "t/0"}\n', "README.md": b"a card\n"}
# A process of its own, since the library reads its environment when it is imported.
ASK = """
import sys
from evalkit.hub import local_path
from tabwright.cli import run_command
def ask():
    print(local_path(sys.argv[1]))
    return 0
sys.exit(run_command("evalkit", ask))
"""


class Hub(BaseHTTPRequestHandler):
    """One data set, `owner/name`, as the hub shows it."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = path.removeprefix("/datasets/owner/name/resolve/").partition("/")[2]
        if path.startswith("/api/datasets/owner/name/revision/"):
            rows = [{"rfilename": file} for file in FILES]
            self.send({"id": "owner/name", "sha": COMMIT, "siblings": rows})
        elif path.startswith("/api/datasets/owner/name/tree/"):
            self.send(
                [{"type": "file", "path": k, "size": len(v), "oid": "1"} for k, v in FILES.items()]
            )
        elif name in FILES:
            self.send(FILES[name])
        else:
            code = "EntryNotFound" if "owner/name" in path else "RepoNotFound"
            self.send(b"", 404, code)

    def send(self, body: object, status: int = 200, code: str = "") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(raw)}"')
        self.send_header("Content-Length", str(len(raw)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(raw)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def ask(name: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", ASK, name],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_file_and_a_whole_data_set_are_downloaded_once(hub: str, tmp_path: Path) -> None:
    one = ask("hf://owner/name/data/rows.jsonl", hub, tmp_path)
    assert one.returncode == 0, one.stderr
    assert Path(one.stdout.strip()).read_bytes() == FILES["data/rows.jsonl"]
    whole = ask("hf://datasets/owner/name", hub, tmp_path)
    assert whole.returncode == 0, whole.stderr
    folder = Path(whole.stdout.strip())
    assert (folder / "data" / "rows.jsonl").read_bytes() == FILES["data/rows.jsonl"]
    away = ask("hf://owner/name/data/rows.jsonl", "http://127.0.0.1:1", tmp_path)
    assert away.stdout == one.stdout


def test_what_the_hub_does_not_have_is_the_callers_to_mend(hub: str, tmp_path: Path) -> None:
    for name in ("hf://owner/name/none.jsonl", "hf://owner/other/rows.jsonl"):
        ran = ask(name, hub, tmp_path)
        assert ran.returncode == 2, ran.stderr
        assert name in ran.stderr
        assert "the hub has none" in ran.stderr


@pytest.mark.parametrize("name", ["hf://owner/name", "hf://owner/name/rows.jsonl"])
def test_without_a_network_the_message_says_what_else_to_do(name: str, tmp_path: Path) -> None:
    ran = ask(name, "http://127.0.0.1:1", tmp_path)
    assert ran.returncode == 3, ran.stderr
    assert ran.stderr.splitlines()[-1].startswith(f"evalkit: {name} cannot be downloaded")
    assert "--path" in ran.stderr


def test_other_paths_are_paths_and_other_names_are_refused() -> None:
    assert local_path(None) is None
    assert local_path("a/b.jsonl") == Path("a/b.jsonl")
    for name in ("hf://", "hf://owner", "hf://own er/name"):
        with pytest.raises(InvalidRequest, match="owner/name"):
            local_path(name)
