"""`octoroute db`: bring the database of a configuration up to date, look whether it is sound, copy it."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from octoroute_py.cli.options import config_option, output_option, read_config
from octoroute_py.config.schema import Config
from octoroute_py.core import clock
from octoroute_py.core.errors import ConfigError
from octoroute_py.storage import check, migrate
from octoroute_py.storage.backup import back_up
from octoroute_py.storage.engine import Source, connect, file_of
from octoroute_py.storage.errors import StorageError
from octoroute_py.storage.spool import Spool, count_rows, spool_path


@click.group("db")
def command() -> None:
    """Upgrade, check or back up the database of [storage].

    Checks and backups do not disturb a gateway that uses it. Each command takes -c FILE, backup also -o OUT.
    """


@command.command("upgrade")
@config_option
def upgrade(config_path: Path | None) -> None:
    """Bring the tables up to date, as `serve` does when it starts; a new database is made."""
    with _database(read_config(config_path), make=True) as source:
        check.refuse_damage(source)
        if not migrate.pending(source):
            click.echo(f"{source.location}: up to date (revision {migrate.NEWEST})")
            return
        spool = Spool(spool_path(source.location))  # nobody's tables change under a gateway that runs
        try:
            for revision in migrate.upgrade(source):
                click.echo(f"{source.location}: applied revision {revision}")
        finally:
            spool.close()


@command.command("check")
@config_option
def look(config_path: Path | None) -> None:
    """Look at every page, index and reference, and count the rows; fails when something is damaged."""
    with _database(read_config(config_path)) as source:
        missing = migrate.pending(source)
        findings = check.examine(source)
        for problem in findings.problems:
            click.echo(f"problem: {problem}")
        state = "sound" if not findings.problems else "damaged; restore a backup"
        click.echo(f"{source.location}: {state}")
        upgrades = f"; `octoroute db upgrade` applies {', '.join(missing)}" if missing else ", the newest"
        click.echo(f"revision {findings.revision}{upgrades}")
        for table, rows in findings.rows.items():
            click.echo(f"{table:18} {rows:>12,}")
        click.echo(f"{'in the spool':18} {count_rows(spool_path(source.location)):>12,}")
    if findings.problems:
        raise click.exceptions.Exit(1)


@command.command("backup")
@config_option
@output_option
def backup(config_path: Path | None, output: Path | None) -> None:
    """Copy the database as it is now, also while a gateway writes to it; without -o beside the database."""
    with _database(read_config(config_path)) as source:
        migrate.pending(source)
        path = output or _beside(Path(source.location))
        if path.exists():
            raise click.ClickException(f"{path} exists and is not overwritten")
        back_up(source, path)
        click.echo(f"{path}: {path.stat().st_size:,} bytes")
        waiting = count_rows(spool_path(source.location))
        if waiting:
            click.echo(f"note: {waiting:,} rows wait in the spool and are not in this copy")


def problem_of(config: Config) -> str | None:
    """Why `serve` would refuse the database as it is, None when it would not; makes and changes nothing."""
    if config.storage.url is None:
        return None
    try:
        path = file_of(config.storage.url.reveal(), base_dir=_base_dir(config))
        if _is_still_to_make(path) or config.storage.url.reveal().startswith("postgresql"):
            return None  # `serve` makes the one, and has a line of its own about the other
        with _database(config) as source:
            check.refuse_damage(source)
            migrate.pending(source)
    except StorageError as error:
        return f"storage: {error}"
    except ConfigError as error:
        return str(error)
    return None


@contextlib.contextmanager
def _database(config: Config, *, make: bool = False) -> Iterator[Source]:
    """The configuration's database; what is wrong with it is a ConfigError."""
    if config.storage.url is None:
        raise ConfigError('storage.url: nothing is kept; name a database, as "sqlite:///octoroute.db"')
    try:
        path = file_of(config.storage.url.reveal(), base_dir=_base_dir(config))
        if not make and _is_still_to_make(path):
            raise ConfigError(f"storage: there is no {path} yet; `octoroute serve` or `octoroute db upgrade` makes it")
        source = connect(config.storage.url.reveal(), base_dir=_base_dir(config), make=make)
        try:
            yield source
        finally:
            source.engine.dispose()
    except StorageError as error:
        raise ConfigError(f"storage: {error}") from None


def _is_still_to_make(path: Path | None) -> bool:
    return path is not None and not path.exists() and path.parent.is_dir()


def _base_dir(config: Config) -> Path:
    return (Path() if config.path is None else config.path.parent).absolute()


def _beside(path: Path) -> Path:
    """A name that says when the copy was made."""
    at = datetime.fromtimestamp(clock.wall(), UTC)
    return path.with_name(f"{path.stem}-{at:%Y%m%dT%H%M%SZ}{path.suffix}")
