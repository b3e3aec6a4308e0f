"""`octoroute discover` against real sockets."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from octoroute_py.cli.main import cli
from octoroute_py.config.load import parse_config

Serve = Callable[[int, bytes], int]


def models(*names: str) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]}).encode()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that give this status and body to every GET; the result is the port."""
    servers: list[HTTPServer] = []

    def start(status: int, body: bytes) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                right = self.path == "/v1/models"
                self.send_response(status if right else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_what_is_found_is_listed_and_written(serve: Serve, closed_port: int, tmp_path: Path) -> None:
    ollama, vllm = serve(200, models("qwen3:8b", "nomic-embed-text")), serve(200, models("gpt-oss-120b"))
    path = tmp_path / "config.toml"
    ports = [f"--port=Ollama={ollama}", f"--port=vLLM={vllm}", f"--port=LM Studio={closed_port}"]
    result = CliRunner().invoke(cli, ["discover", "-o", str(path), *ports])
    assert result.exit_code == 0, result.output
    assert "nomic-embed-text (left out)" in result.stdout
    assert f"Ollama at 127.0.0.1:{ollama}: 2 models\n" in result.stdout
    assert f"vLLM at 127.0.0.1:{vllm}: 1 model\n" in result.stdout
    config = parse_config(path.read_text())
    assert [(each.name, each.base_url) for each in config.endpoints] == [
        ("qwen3:8b", f"http://127.0.0.1:{ollama}/v1"),
        ("gpt-oss-120b-balanced", f"http://127.0.0.1:{vllm}/v1"),
        ("gpt-oss-120b", f"http://127.0.0.1:{vllm}/v1"),
    ]
    again = CliRunner().invoke(cli, ["discover", "-o", str(path), *ports])
    assert again.exit_code == 1
    assert "not overwritten" in again.stderr


def test_without_a_file_the_configuration_alone_goes_to_stdout(serve: Serve) -> None:
    result = CliRunner().invoke(cli, ["discover", f"--port=Ollama={serve(200, models('qwen3:8b'))}"])
    assert result.exit_code == 0
    assert len(parse_config(result.stdout).endpoints) == 3
    assert "qwen3:8b" in result.stderr


def test_nothing_found_is_told_with_where_it_looked_and_what_to_do(closed_port: int) -> None:
    result = CliRunner().invoke(cli, ["discover", f"--port=Ollama={closed_port}"])
    assert result.exit_code == 1
    assert f"Ollama at {closed_port}" in result.stderr
    assert "octoroute config -o config.toml" in result.stderr


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, models("a")),
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (200, b" " * (2 << 20)),
        (302, b""),
        (200, b'{"data": 1}'),
    ],
)
def test_what_is_no_model_server_is_passed_over(serve: Serve, status: int, body: bytes) -> None:
    result = CliRunner().invoke(cli, ["discover", f"--port=x={serve(status, body)}"])
    assert result.exit_code == 1
    assert "no model server answered" in result.stderr


def test_a_port_that_never_answers_does_not_hold_up_the_others(serve: Serve, silent_port: int) -> None:
    ports = [f"--port=x={silent_port}", f"--port=Ollama={serve(200, models('qwen3:8b'))}"]
    assert CliRunner().invoke(cli, ["discover", *ports]).exit_code == 0


def test_servers_without_a_chat_model_are_told(serve: Serve) -> None:
    result = CliRunner().invoke(cli, ["discover", f"--port=x={serve(200, models('bge-m3'))}"])
    assert result.exit_code == 1
    assert "no chat model" in result.stderr


def test_names_that_would_disturb_a_terminal_are_left_out(serve: Serve) -> None:
    port = serve(200, models("\x1b[2J", "a", "b\nc"))
    result = CliRunner().invoke(cli, ["discover", f"--port=x={port}"])
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert {each.model for each in parse_config(result.stdout).endpoints} == {"a"}


@pytest.mark.parametrize("port", ["x", "x=0", "x=70000", "x=y"])
def test_a_port_option_that_is_none_is_wrong_usage(port: str) -> None:
    assert CliRunner().invoke(cli, ["discover", "--port", port]).exit_code == 2
