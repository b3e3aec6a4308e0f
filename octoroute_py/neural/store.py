"""Where a Tiny Dancer router keeps its candidates and what became of them: one SQLite file.

Every write is on disk when its method returns. Methods may wait for the disk; call them from threads that may.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.core import clock
from octoroute_py.core.clock import Wall
from octoroute_py.neural.candidate import Candidate, Match, Statistics, Vector
from octoroute_py.neural.checks import check, created_s, vector
from octoroute_py.neural.errors import InvalidInput, StorageProblem
from octoroute_py.neural.search import VectorIndex
from octoroute_py.storage import candidates as rows
from octoroute_py.storage.candidates import CandidateRow, RoutingRow
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError

T = TypeVar("T")

BUSY_WAIT_S = 5.0

_decode = msgspec.json.Decoder(dict[str, object]).decode


class Storage:
    """The file at `path`, made when it is missing; raises StorageProblem when it cannot be used as it is.

    `busy_wait_s` is how long a method waits for another process that holds the file's lock.
    """

    def __init__(self, path: Path | str, *, wall: Wall = clock.wall, busy_wait_s: float = BUSY_WAIT_S) -> None:
        self._wall = wall
        self._index = VectorIndex()
        self._indexed = 0
        self._searching = threading.Lock()
        with _told():
            self._database = Database.open_file(Path(path).absolute(), busy_wait_s=busy_wait_s)

    def __enter__(self) -> "Storage":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # candidates

    def insert_candidate(self, candidate: Candidate) -> None:
        """Keep a candidate; one of the same id is replaced, with its figures, and keeps its history."""
        row, now = self._row(candidate, "candidate"), int(self._wall())
        self._write(lambda connection: rows.put(connection, row, now=now))

    def get_candidate(self, id: str) -> Candidate | None:
        """The candidate of this id, None when there is none."""
        with _told(), self._database.read() as connection:
            found = rows.get(connection, [id]).get(id)
        return None if found is None else _candidate(found)

    def query_candidates(self, n: int) -> list[Candidate]:
        """The `n` candidates made last, newest first; `search` finds by similarity."""
        with _told(), self._database.read() as connection:
            return [_candidate(row) for row in rows.newest(connection, _count(n, "n"))]

    def search(self, vector_: Vector, k: int) -> list[Match]:
        """The `k` candidates most similar to a vector by cosine, best first: exact, every stored vector is compared.

        Raises InvalidInput when nothing of the vector's dimensions is stored but something else is.
        """
        query = vector(vector_, "vector")
        with _told(), self._database.read() as connection:
            with self._searching:
                for revision, id, blob in rows.embeddings_since(connection, self._indexed):
                    self._index.put(id, _floats(blob))
                    self._indexed = revision
                found = self._index.nearest(query, _count(k, "k"))
            known = rows.get(connection, [id for id, _ in found])
        return [Match(_candidate(known[id]), similarity) for id, similarity in found]

    # history

    def record_routing(
        self,
        candidate_id: str,
        query_embedding: Vector | None = None,
        *,
        confidence: float,
        use_lightweight: bool,
        uncertainty: float,
        inference_time_us: int,
        new: Sequence[Candidate] = (),
    ) -> int:
        """Note which candidate led a routing, and count the access to it; the routing's number, for its outcome.

        `new` are candidates to keep first where their ids are unknown. Raises InvalidInput for an unknown candidate.
        """
        offered = [self._row(each, f"candidates[{at}]") for at, each in enumerate(new)]
        now = int(self._wall())
        row = RoutingRow(
            candidate_id=candidate_id,
            query_embedding=None if query_embedding is None else _bytes(vector(query_embedding, "query_embedding")),
            confidence=confidence,
            use_lightweight=use_lightweight,
            uncertainty=uncertainty,
            timestamp=now,
            inference_time_us=inference_time_us,
        )

        def note(connection: Any) -> int:
            rows.add_new(connection, offered, now=now)
            return rows.add_routing(connection, row)

        try:
            return self._write(note, count=1 + len(offered))
        except KeyError:
            raise InvalidInput(f"there is no candidate {candidate_id!r}", field="candidate_id") from None

    def record_outcome(self, routing_id: int, success: bool) -> float:
        """Tell how a routing ended; its candidate's new success rate, the mean of all outcomes known of it.

        Telling it again replaces what was told before. Raises InvalidInput for an unknown routing.
        """
        try:
            return self._write(lambda connection: rows.add_outcome(connection, routing_id, success=success))
        except KeyError:
            raise InvalidInput(f"there is no routing {routing_id!r}", field="routing_id") from None

    def get_statistics(self) -> Statistics:
        """The whole history in numbers."""
        with _told(), self._database.read() as connection:
            found = rows.totals(connection)
        return Statistics(
            total_routes=found.routes,
            lightweight_routes=found.lightweight,
            powerful_routes=found.routes - found.lightweight,
            avg_inference_time_us=found.average_us,
            outcomes=found.outcomes,
            success_rate=found.succeeded / found.outcomes if found.outcomes else None,
        )

    def _write(self, job: Callable[..., T], *, count: int = 1) -> T:
        with _told():
            return self._database.write(job, rows=count)

    def _row(self, candidate: Candidate, where: str) -> CandidateRow:
        check(candidate, where)
        try:
            metadata = msgspec.json.encode(dict(candidate.metadata or {})).decode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise InvalidInput(f"{where}.metadata must be made of JSON values", field=f"{where}.metadata") from None
        return CandidateRow(
            id=candidate.id,
            embedding=_bytes(vector(candidate.embedding, f"{where}.embedding")),
            metadata=metadata,
            created_at=int(created_s(candidate.created_at, self._wall())),
            access_count=candidate.access_count,
            success_rate=float(candidate.success_rate),
        )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The storage's errors as the router's own; the message is the same."""
    try:
        yield
    except StorageError as error:
        raise StorageProblem(str(error)) from error


def _candidate(row: CandidateRow) -> Candidate:
    return Candidate(
        id=row.id,
        embedding=_floats(row.embedding),
        metadata=_decode(row.metadata),
        created_at=row.created_at,
        access_count=row.access_count,
        success_rate=row.success_rate,
    )


def _bytes(floats: NDArray[np.float32]) -> bytes:
    return floats.astype("<f4").tobytes()


def _floats(blob: bytes) -> NDArray[np.float32]:
    return np.frombuffer(blob, dtype="<f4").astype(np.float32)


def _count(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"{name} must be a whole number from 0 on", field=name)
    return min(value, 2**31)
