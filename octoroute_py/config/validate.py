"""A parsed document to one Config, or all of its problems at once."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from octoroute_py.config.access import read_auth
from octoroute_py.config.endpoints import read_endpoints
from octoroute_py.config.environment import Outside, Overrides
from octoroute_py.config.fields import Table
from octoroute_py.config.keeping import read_limits, read_redis, read_storage
from octoroute_py.config.problems import Problems
from octoroute_py.config.registering import read_registry
from octoroute_py.config.schema import Config
from octoroute_py.config.secrets import Sources
from octoroute_py.config.sections import (
    read_admin,
    read_breaker,
    read_cors,
    read_health,
    read_observability,
    read_retry,
    read_routing,
    read_server,
    read_timeouts,
)
from octoroute_py.config.tracing import read_tracing
from octoroute_py.config.unbuilt import unbuilt


def build(
    document: Mapping[str, object],
    *,
    problems: Problems,
    env: Mapping[str, str],
    base_dir: Path,
    overrides: Overrides,
    path: Path | None,
) -> Config:
    """Read the whole document; the result may be used only while `problems` stays empty."""
    root = Table(document, (), problems)
    if root.has("config_version"):
        hint = "endpoints stand in [[models.fast]] and so on; `octoroute config` prints a template"
        root.problem("config_version", "this is a file of octoroute 2, which is laid out differently", hint=hint)
    sources = Sources(env, base_dir)
    config = Config(
        server=read_server(root.table("server"), base_dir),
        endpoints=read_endpoints(root.table("models"), problems=problems, sources=sources),
        routing=read_routing(root.table("routing"), base_dir),
        timeouts=read_timeouts(root.table("timeouts")),
        retry=read_retry(root.table("retry")),
        breaker=read_breaker(root.table("breaker")),
        health=read_health(root.table("health")),
        limits=read_limits(root.table("limits")),
        auth=read_auth(root.table("auth"), problems=problems, sources=sources),
        admin=read_admin(root.table("admin")) if root.has("admin") else None,
        storage=read_storage(root.table("storage"), in_file=path is not None),
        registry=read_registry(root.table("registry"), sources),
        redis_url=read_redis(root.table("redis")),
        observability=read_observability(root.table("observability")),
        tracing=read_tracing(root.table("tracing"), problems=problems, env=env),
        cors=read_cors(root.table("cors")),
        path=path,
    )
    root.close()
    outside = Outside(env, overrides, problems)
    config = outside.applied(config)
    _check_listeners(config, root)
    lines = unbuilt(config, tables=frozenset(document))
    return msgspec.structs.replace(config, unbuilt=lines)


def _check_listeners(config: Config, root: Table) -> None:
    server, admin = config.server, config.admin
    # Another address on the same port would not do: the listeners are told apart by their ports.
    if admin is not None and admin.port == server.port != 0:
        root.problem("admin", "has the port of [server]", hint="give it another one")
    if config.auth.clients and (server.tls is None or server.tls.client_ca_file is None):
        hint = "set server.tls.client_ca_file to the authority that signs them"
        root.table("auth").problem("clients", "nobody is asked for a certificate", hint=hint)
