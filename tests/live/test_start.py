"""Starting: quickly, on the port it is given, and with one clear word when it cannot."""

import os
import re
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.fakes.client import ask, chat, get, post
from tests.fakes.configs import MINIMAL
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.upstream import FakeUpstream

ADMIN_KEY = re.compile(r"admin key: (okr-\S+)")
OPEN = ("/health", "/health/live", "/health/ready", "/metrics")
GUARDED = ("/health/detailed", "/v1/models", "/models", "/v1/models/fast")


def config_of(upstream: FakeUpstream) -> str:
    urls = [upstream.base_url]
    return rule_config(urls, urls, urls)


def refused(folder: Path, config: str, *args: str, env: dict[str, str] | None = None, code: int = 78) -> list[str]:
    """What a gateway that must not start says: its exit code, nothing on stdout, no traceback."""
    path = folder / "config.toml"
    path.write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "octoroute_py", "serve", "-c", str(path), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env={**os.environ, **(env or {})})
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


async def test_the_first_request_is_answered_soon_after_the_start_and_without_numba(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        began = time.monotonic()
        async with gateway(config_of(upstream), tmp_path) as running:
            assert (await ask(running.port, post(chat()))).status == 200
            assert time.monotonic() - began < 2 * 1.5
            assert running.port != 0
            loaded = " ".join(each.path for each in psutil.Process(running.process.pid).memory_maps())
            assert "uvloop" in loaded
            assert not re.search("numba|numpy|llvmlite", loaded)
            assert running.stdout == [f"listening on http://127.0.0.1:{running.port}"]
        assert await running.wait() == 0


def test_every_problem_of_a_wrong_config_is_told_at_once(tmp_path: Path) -> None:
    wrong = MINIMAL.replace('name = "small"', 'nmae = "small"\nweight = -1').replace('"rule"', '"roule"')
    told = "\n".join(refused(tmp_path, wrong + "[servre]\nport = 1\n[limits]\nmax_in_flight = 0\n"))
    for word in ("nmae", "weight", "strategy", "servre", "max_in_flight"):
        assert word in told
    assert "name" in told


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "octoroute_py", "serve", "-c", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert "none.toml" in done.stderr


def test_a_secret_that_is_not_set_is_told_before_anything_is_served(tmp_path: Path) -> None:
    config = MINIMAL.replace('name = "small"', 'name = "small"\napi_key_env = "NOT_SET_ANYWHERE"')
    assert "NOT_SET_ANYWHERE" in "\n".join(refused(tmp_path, config))


def test_an_artifact_that_cannot_be_used_is_told_in_one_line_before_anything_is_served(tmp_path: Path) -> None:
    config = MINIMAL.replace('"rule"', '"hybrid"') + '[routing.neural]\nartifact = "own.safetensors"\n'
    (line,) = refused(tmp_path, config)
    assert line == f"routing.neural.artifact: {tmp_path / 'own.safetensors'}: no such file"
    (tmp_path / "own.safetensors").write_bytes(b"\x80\x04N.")
    (line,) = refused(tmp_path, config)
    assert "own.safetensors: is no safetensors file" in line


def test_a_table_that_is_not_built_yet_is_refused_in_one_line_that_says_what_works(tmp_path: Path) -> None:
    told = refused(tmp_path, MINIMAL + '[redis]\nurl = "redis://127.0.0.1"\n')
    assert len(told) == 1
    assert "leave the table out" in told[0]


def test_a_port_in_use_is_told_in_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(tmp_path, MINIMAL, "--port", str(port), code=1)
        assert len(told) == 1
        assert str(port) in told[0]
        assert "in use" in told[0]


async def test_an_open_gateway_that_others_can_reach_says_so_and_a_start_logs_nothing_else(tmp_path: Path) -> None:
    warning = "everybody who can reach this address may use every route, /admin included"
    async with FakeUpstream() as upstream:
        config = config_of(upstream) + '[auth]\nmode = "none"\n'
        async with gateway(config, tmp_path, args=("--host", "0.0.0.0")) as running:
            pass
        (line, _) = running.log.splitlines()
        assert f"warning {warning} address" in line
        async with gateway(config, tmp_path) as running:
            pass
        (line,) = running.log.splitlines()
        assert "draining" in line


async def test_off_loopback_the_first_start_makes_one_admin_key_and_everything_needs_it(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        config = config_of(upstream)
        async with gateway(config, tmp_path, args=("--host", "0.0.0.0")) as running:
            (key,) = ADMIN_KEY.findall("\n".join(running.stdout))
            kept = tmp_path / "octoroute.keys"
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            assert key not in kept.read_text(encoding="utf-8")
            for path in OPEN:
                assert (await ask(running.port, get(path))).status in (200, 503), path
            for path in GUARDED:
                assert (await ask(running.port, get(path))).status == 401, path
                for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
                    assert (await ask(running.port, get(path, headers=headers))).status == 200, path
            for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/chat"):
                answer = await ask(running.port, post(chat(), path=path))
                assert (answer.status, answer.code) == (401, "invalid_api_key"), path
            answer = await ask(running.port, post(b"", path="/admin/reload"))
            assert (answer.status, answer.json["code"]) == (401, "invalid_api_key")
            assert upstream.requests == []
            asked = post(chat(), headers={"authorization": f"Bearer {key}"})
            assert (await ask(running.port, asked)).status == 200
            assert key not in running.log
        async with gateway(config, tmp_path, args=("--host", "0.0.0.0")) as running:
            assert not ADMIN_KEY.search("\n".join(running.stdout))
            assert (await ask(running.port, asked)).status == 200
            assert (await ask(running.port, post(chat()))).status == 401
