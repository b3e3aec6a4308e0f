"""Moving pages from SQLite's log into the database beside the writer, so that no commit waits for that.

SQLite does it by itself inside a commit, and that one then waits for the disk twice, which on a slow disk takes longer
than a request may wait for its row. Here a thread does it; SQLite still would if the log grew eight times as long.
"""

import contextlib
import threading

from octoroute_py.storage.engine import CHECKPOINT_PAGES, Source
from octoroute_py.storage.errors import StorageError

_CLOSE_S = 1.0


class Checkpoints:
    """Told of pages by the writer; starts its thread when there is something to do for the first time."""

    __slots__ = ("_closed", "_pages", "_source", "_thread", "_wanted")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pages = 0
        self._wanted = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def written(self, pages: int) -> None:
        """About so many pages were written to the log; for one thread."""
        self._pages += pages
        if self._pages < CHECKPOINT_PAGES or not self._source.is_sqlite:
            return
        self._pages = 0
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="storage-checkpoints", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives us no thread: the writer goes on, and asks again later
                return
            self._thread = thread
        self._wanted.set()

    def close(self) -> None:
        """End the thread, after what it is at if that does not take long."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closed:
                return
            # One that fails is as good as one that has not come yet: nothing is lost, the log grows.
            with contextlib.suppress(StorageError), self._source.told():
                connection = self._source.engine.raw_connection()
                try:
                    connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
                finally:
                    connection.close()
