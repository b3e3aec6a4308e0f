"""Keys over a real database, with a clock that stands still until it is moved."""

from pathlib import Path

from octoroute_py.admission.keyring import IssuedKeys
from octoroute_py.manage.directories import follow_directory
from octoroute_py.manage.key_order import KeyOrder, Known
from octoroute_py.manage.keys import Keys, Made
from octoroute_py.manage.store import Store
from octoroute_py.storage.db import Database

NOON_S = 1_900_000_000.0
KNOWN = Known(frozenset({"anonymous", "from the file"}), frozenset({"small", "fast/small#1"}))


class Office:
    """Where keys are issued: everything from the use-case to the database, and the directory that follows it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database.open("sqlite:///office.db", base_dir=folder)
        self.file = folder / "office.db"
        self.wall_s = NOON_S
        self.seen: list[IssuedKeys] = []
        self.directories = follow_directory(self.database, on_change=self.seen.append)
        self.keys = Keys(
            Store(self.database), known=lambda: KNOWN, wall=lambda: self.wall_s, changed=self.directories.refresh
        )

    async def issue(self, name: str = "bob", **fields: object) -> Made:
        """A key with these fields of its order."""
        return await self.keys.create(KeyOrder(name=name, **fields), actor="ops")  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of the database."""
        self.directories.close()
        self.database.close()
