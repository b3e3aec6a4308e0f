"""`octoroute check --probe` over real sockets."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from octoroute_py.cli.main import cli

KEY = "sk-canary-0123456789"
BODY = b'{"object": "list", "data": [{"id": "small"}]}'


@pytest.fixture
def port() -> Iterator[int]:
    """A model server that wants KEY."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            allowed = self.headers["authorization"] == f"Bearer {KEY}" and self.path == "/v1/models"
            self.send_response(200 if allowed else 401)
            self.send_header("content-length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, format: str, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def test_every_endpoint_is_asked_with_its_credential(port: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    path = tmp_path / "config.toml"
    path.write_text(
        f"""
[[models.fast]]
name = "small"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "SMALL_KEY"
[[models.balanced]]
name = "middle"
base_url = "http://127.0.0.1:{port}/v1"
[[models.deep]]
name = "large"
base_url = "http://127.0.0.1:{closed}/v1"
[routing]
strategy = "rule"
"""
    )
    (tmp_path / ".env").write_text(f"SMALL_KEY={KEY}\n")
    result = CliRunner().invoke(cli, ["check", "-c", str(path), "--probe"])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        "fast/small#1: ok",
        "balanced/middle#1: status 401: it does not accept the credential",
        "deep/large#1: cannot connect",
    ]
    assert KEY not in result.output
