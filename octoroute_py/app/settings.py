"""What the composition root works out from a configuration alone."""

from pathlib import Path

import msgspec

from octoroute_py.config.schema import Config, ObservabilityConfig, Secret
from octoroute_py.core.errors import ConfigError
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError


def refuse_unbuilt(config: Config) -> None:
    """ConfigError with one line for each thing the file asks for that this version cannot do."""
    if config.unbuilt:
        raise ConfigError("\n".join(config.unbuilt))


def open_database(config: Config) -> Database | None:
    """The database of `[storage]` with the tables of this version, None when nothing is kept.

    Raises ConfigError for a database that must not be used: damaged, newer, another program's, out of reach.
    """
    if config.storage.url is None:
        return None
    base_dir = Path() if config.path is None else config.path.parent
    try:
        return Database.open(
            config.storage.url.reveal(),
            base_dir=base_dir.absolute(),
            synchronous=config.storage.synchronous,
        )
    except StorageError as error:
        raise ConfigError(f"storage: {error}") from None


def listening_hosts(config: Config) -> tuple[str, ...]:
    """Where the gateway listens: the server's host and, if it has one, the management listener's."""
    return (config.server.host,) if config.admin is None else (config.server.host, config.admin.host)


def known_secrets(config: Config) -> list[str]:
    """Every credential the logs must never show."""
    secrets = [secret for endpoint in config.endpoints for secret in (endpoint.api_key, endpoint.proxy)]
    secrets += [credential.key for _, credential in config.registry.credentials]
    if config.auth.jwt is not None:
        secrets.append(config.auth.jwt.key)
    secrets += [value for _, value in config.tracing.headers]
    found = [secret.reveal() for secret in secrets if isinstance(secret, Secret)]
    return found + [value for endpoint in config.endpoints for _, value in endpoint.headers]


def needs_restart(started: Config, new: Config) -> list[str]:
    """What is another one in the file than at the start, but fixed while the process runs."""
    admin = started.admin
    if admin is not None and new.admin is not None and new.admin.port == 0:
        admin = msgspec.structs.replace(admin, port=0)  # what it came to is not in the file
    fixed: dict[str, tuple[object, object]] = {
        "server": (_fixed_of_server(started), _fixed_of_server(new)),
        "admin": (admin, new.admin),
        "cors": (started.cors, new.cors),
        "observability": (_fixed_of_logs(started), _fixed_of_logs(new)),
        "storage": (started.storage, new.storage),
        "tracing": (started.tracing, new.tracing),
        "limits.max_header_bytes": (started.limits.max_header_bytes, new.limits.max_header_bytes),
    }
    return [name for name, (before, after) in fixed.items() if before != after]


def _fixed_of_logs(config: Config) -> ObservabilityConfig:
    """All but the levels of single rooms, which follow the file."""
    return msgspec.structs.replace(config.observability, log_levels=())


def _fixed_of_server(config: Config) -> tuple[object, ...]:
    """All but the files of a certificate, which are read again."""
    server = config.server
    tls = None if server.tls is None else (server.tls.client_ca_file,)
    return msgspec.structs.replace(server, tls=None), tls
