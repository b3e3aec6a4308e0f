"""`octoroute keys`: issue, list, rotate and revoke keys in the database of a configuration, a gateway on it or not.

The key in clear goes to stdout, alone on its line, and everything about it to stderr, so that a script can take it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from octoroute_py.app.settings import open_database
from octoroute_py.cli.options import config_option, read_config
from octoroute_py.core import clock
from octoroute_py.core.errors import BadRequest, ConfigError, GatewayError
from octoroute_py.core.words import TIERS, Role
from octoroute_py.manage.key_order import KeyOrder, known_in
from octoroute_py.manage.key_view import KeyView, key_view
from octoroute_py.manage.keys import Keys, Made
from octoroute_py.manage.store import Store
from octoroute_py.storage.keys import KeyRow

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

ACTOR = "cli"
"""Who made a change, in the audit."""
_PAGE = 500
_COUNT = click.IntRange(min=1)
_USD = click.FloatRange(min=0)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _span(ctx: click.Context | None, param: click.Parameter | None, value: str) -> float:
    """A time as `90s`, `15m`, `24h` or `30d`, in seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no time; write 90s, 15m, 24h or 30d.", ctx, param)
    return float(int(found[1]) * _UNITS[found[2] or "s"])


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """A moment as ISO 8601 with a time zone, or as the time from now."""
    if value is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{1,9}[smhd]", value):
            return datetime.fromtimestamp(clock.wall() + _span(ctx, param, value), UTC)
        return msgspec.convert(value, datetime)
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no moment; write 2030-01-31T12:00:00Z, or 30d from now.", ctx, param
        ) from None


def _json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API answers.")(function)


@click.group("keys")
def command() -> None:
    """Issue, list, rotate and revoke keys.

    They are kept in the database of [storage]; a gateway that runs on it follows within a second. Each command takes
    -c FILE and --json.
    """


@command.command("create")
@click.argument("name")
@config_option
@click.option("--role", type=click.Choice([each.value for each in Role]), default="inference", show_default=True)
@click.option("--workspace", "workspaces", multiple=True, metavar="W", help="Bind it to this workspace; repeatable.")
@click.option("--tier", "tiers", multiple=True, type=click.Choice([each.value for each in TIERS]), help="Repeatable.")
@click.option("--endpoint", "endpoints", multiple=True, metavar="E", help="Name or id of an endpoint; repeatable.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Where it may be used from; repeatable.")
@click.option(
    "--expires", "expires_at", callback=_moment, metavar="TIME", help="2030-01-31T12:00:00Z, or 30d from now."
)
@click.option("--requests-per-minute", "requestsPerMinute", type=_COUNT, metavar="N")
@click.option("--tokens-per-minute", "tokensPerMinute", type=_COUNT, metavar="N")
@click.option("--max-concurrent", "maxConcurrent", type=_COUNT, metavar="N")
@click.option("--daily-usd", "daily", type=_USD, metavar="USD")
@click.option("--weekly-usd", "weekly", type=_USD, metavar="USD")
@click.option("--monthly-usd", "monthly", type=_USD, metavar="USD")
@click.option("--per-request-usd", "perRequest", type=_USD, metavar="USD")
@_json_option
def create(config_path: Path | None, as_json: bool, **given: Any) -> None:
    """Issue a key called NAME and print it, this once."""
    order = _order(given)
    _show_made(_with_keys(config_path, lambda keys: keys.create(order, actor=ACTOR)), as_json=as_json)


@command.command("list")
@config_option
@_json_option
def list_keys(config_path: Path | None, as_json: bool) -> None:
    """List every key that was issued, newest first."""
    wall_s = clock.wall()
    rows = _with_keys(config_path, _all)
    views = [key_view(row, wall_s=wall_s) for row in rows]
    if as_json:
        click.echo(msgspec.json.encode({"keys": views, "count": len(views)}))
        return
    for line in _columns([("ID", "NAME", "ROLE", "STATUS", "LAST 4", "EXPIRES"), *map(_line, views)]):
        click.echo(line)


@command.command("rotate")
@click.argument("key_id", metavar="ID")
@config_option
@click.option(
    "--overlap", callback=_span, default="24h", show_default=True, metavar="TIME", help="How long the old key works on."
)
@_json_option
def rotate(key_id: str, config_path: Path | None, overlap: float, as_json: bool) -> None:
    """Print a new key for the one with this ID; the old one ends after the overlap, 0 ends it now."""
    made = _with_keys(config_path, lambda keys: keys.rotate(key_id, overlap_s=overlap, actor=ACTOR))
    _show_made(made, as_json=as_json)


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@config_option
@_json_option
def revoke(key_id: str, config_path: Path | None, as_json: bool) -> None:
    """End the key with this ID for good, now."""
    row = _with_keys(config_path, lambda keys: keys.revoke(key_id, actor=ACTOR))
    if as_json:
        click.echo(msgspec.json.encode(key_view(row, wall_s=clock.wall())))
    else:
        click.echo(f"{row.id} ({row.name}) is revoked", err=True)


def _order(given: dict[str, Any]) -> KeyOrder:
    """The order that the options stand for, checked as a body of the API is."""
    order: dict[str, Any] = {"limits": {}, "budgets": {}}
    for name, value in given.items():
        if value is None or value == ():
            continue
        if name in ("requestsPerMinute", "tokensPerMinute", "maxConcurrent"):
            order["limits"][name] = value
        elif name in ("daily", "weekly", "monthly", "perRequest"):
            order["budgets"][name] = value
        else:
            order["expiresAt" if name == "expires_at" else name] = value
    try:
        return msgspec.convert(order, KeyOrder)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None


def _with_keys(config_path: Path | None, work: Callable[[Keys], Awaitable[T]]) -> T:
    config = read_config(config_path)
    database = open_database(config)
    if database is None:
        raise ConfigError('storage.url: keys are issued from a database; set one, as "sqlite:///octoroute.db"')

    async def nobody_listens() -> None:
        """A gateway sees the change by itself."""

    async def run() -> T:
        known = known_in(config)
        store = Store(database, report=lambda error: None)  # it is the command's own message
        return await work(Keys(store, known=lambda: known, wall=clock.wall, changed=nobody_listens))

    try:
        return asyncio.run(run())
    except GatewayError as error:
        raise _told(error) from None
    finally:
        database.close()


def _told(error: GatewayError) -> click.ClickException:
    """What went wrong: in the use of the command (exit code 2), or elsewhere (1)."""
    if isinstance(error, BadRequest) and error.status == 400:
        return click.UsageError(f"{error.param}: {error.client_message}" if error.param else error.client_message)
    return click.ClickException(error.client_message if error.__cause__ is None else str(error.__cause__))


async def _all(keys: Keys) -> list[KeyRow]:
    rows: list[KeyRow] = []
    while True:
        page = await keys.page(limit=_PAGE, offset=len(rows))
        rows += page.rows
        if not page.rows or len(rows) >= page.total:
            return rows


def _show_made(made: Made, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(key_view(made.row, wall_s=clock.wall(), clear=made.clear)))
        return
    click.echo(f"{made.row.id} ({made.row.name}, {made.row.role.value}); the key is shown this once:", err=True)
    click.echo(made.clear)


def _line(view: KeyView) -> tuple[str, ...]:
    last4 = ",".join(secret.last4 for secret in view.secrets)
    return view.id, view.name, view.role.value, view.status, last4, view.expires_at or "-"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
