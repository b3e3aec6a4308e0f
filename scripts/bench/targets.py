"""What is measured: our gateway, its peers, nginx and the floor, each with its command and configuration."""

import os
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATH = "/v1/chat/completions"
UPSTREAM_PORT = 9100
OUR_PORT = 9210
KEY = "sk-bench-7f3a9c0e5d2b48a6b1c4"

LITELLM = """model_list:
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/fake-model, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-fake}}
litellm_settings: {{request_timeout: 600, set_verbose: false, json_logs: true, num_retries: 0, telemetry: false}}
general_settings: {{master_key: {key}, disable_spend_logs: true, disable_error_logs: true}}
"""
NGINX = """worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.err warn; daemon off;
events {{ worker_connections 4096; use epoll; multi_accept on; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; tcp_nodelay on;
  client_body_buffer_size 256k; client_max_body_size 16m; client_body_temp_path {work}/b; proxy_temp_path {work}/p;
  fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:9206 backlog=4096;
    location / {{
      proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_buffering off;
    }}
  }}
}}
"""
OUR_SERVER = """[server]
host = "127.0.0.1"
port = {port}
request_timeout_seconds = 60
"""
OUR_ENDPOINT = """
[[models.{tier}]]
name = "{tier}-model"
base_url = "http://127.0.0.1:{upstream}/v1"
max_tokens = 4096
"""
OUR_PRICES = "input_cost_per_mtok = 0.15\noutput_cost_per_mtok = 0.6\n"
OUR_ROUTING = """
[routing]
strategy = "rule"
router_tier = "balanced"
"""
NOTHING_KEPT = """
[storage]
url = "none"
"""
OUR_ALL_ON = """
[routing]
strategy = "hybrid"
router_tier = "balanced"
[limits]
requests_per_minute = 1000000000
tokens_per_minute = 1000000000000
max_concurrent = 100000
[[auth.keys]]
name = "bench"
role = "inference"
sha256 = "{sha256}"
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing to measure; without a command it is the upstream itself."""

    name: str
    port: int
    command: list[str] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    model: str = "gpt-4o-mini"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How our own gateway is run: its program, what it is asked for, and a configuration other than the harness's."""

    octoroute: str
    model: str
    config: Path | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Workspace:
    """The installed tools and peers (`home`), and a new folder for configurations, bodies and logs (`work`)."""

    def __init__(self) -> None:
        self.home = Path(os.environ.get("BENCH_HOME", Path.home() / ".cache/octoroute-bench"))
        self.work = Path(tempfile.mkdtemp(prefix="octoroute-bench-"))

    def tool(self, name: str) -> str:
        """A program that `setup` built."""
        return str(self.home / "bin" / name)

    def peer(self, environment: str, program: str) -> str:
        """A program of one of the environments that `setup` made."""
        return str(self.home / environment / "bin" / program)

    def write(self, name: str, text: str) -> Path:
        """A file in the work folder."""
        path = self.work / name
        path.write_text(text)
        return path


def our_config(*, upstream: int, all_on: bool = False) -> str:
    """A configuration of ours with one endpoint a tier, all at the same upstream port.

    Nothing is kept, unless everything is to be on: a key, limits, prices, hybrid with the scorer, the journal.
    """
    each = OUR_ENDPOINT + OUR_PRICES if all_on else OUR_ENDPOINT
    tiers = "".join(each.format(tier=tier, upstream=upstream) for tier in ("fast", "balanced", "deep"))
    rest = OUR_ALL_ON.format(sha256=sha256(KEY.encode()).hexdigest()) if all_on else OUR_ROUTING + NOTHING_KEPT
    return OUR_SERVER.format(port=OUR_PORT) + tiers + rest


def octoroute(options: Options, *, config: Path) -> Target:
    """Our gateway on its benchmark port."""
    command = [options.octoroute, "serve", "-c", str(config), "--port", str(OUR_PORT)]
    return Target(name="octoroute", port=OUR_PORT, command=command, headers=options.headers, model=options.model)


def all_targets(space: Workspace, options: Options) -> dict[str, Target]:
    """Every target by name; the configurations they need are written into the work folder."""
    values = {"work": space.work, "upstream": UPSTREAM_PORT, "key": KEY}
    nginx = space.write("nginx.conf", NGINX.format(**values))
    ours = options.config or space.write("ours.toml", our_config(upstream=UPSTREAM_PORT))
    floor = [space.peer("floor", "python"), str(HERE / "floor.py"), "9207", str(UPSTREAM_PORT)]
    targets = [
        Target(name="direct", port=UPSTREAM_PORT),
        Target(name="nginx", port=9206, command=["nginx", "-c", str(nginx)]),
        Target(name="floor", port=9207, command=floor),
        _litellm(space, space.write("litellm.yaml", LITELLM.format(**values))),
        _portkey(space),
        _rust_router(
            "smg", [space.peer("smg", "smg"), "launch", "--backend", "openai", "--disable-load-monitoring"], port=9203
        ),
        _rust_router("sglang", [space.peer("sglang", "sglang-router"), "launch"], port=9204),
        _rust_router("vllm", [space.peer("vllm", "vllm-router")], port=9205),
        octoroute(options, config=ours),
    ]
    return {target.name: target for target in targets}


def _litellm(space: Workspace, config: Path) -> Target:
    program = space.peer("litellm", "litellm")
    return Target(
        name="litellm",
        port=9201,
        command=[program, "--config", str(config), "--host", "127.0.0.1", "--port", "9201", "--num_workers", "1"],
        headers={"Authorization": f"Bearer {KEY}"},
        environment={
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "NO_DOCS": "True",
        },
    )


def _portkey(space: Workspace) -> Target:
    server = space.home / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    return Target(
        name="portkey",
        port=9202,
        command=["node", str(server), "--port=9202", "--headless"],
        headers={
            "Authorization": f"Bearer {KEY}",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{UPSTREAM_PORT}/v1",
        },
        environment={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
    )


def _rust_router(name: str, program: list[str], *, port: int) -> Target:
    bind = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(20000 + port)]
    upstream = ["--worker-urls", f"http://127.0.0.1:{UPSTREAM_PORT}", "--policy", "round_robin"]
    return Target(name=name, port=port, command=[*program, *bind, *upstream, "--log-level", "error"])
