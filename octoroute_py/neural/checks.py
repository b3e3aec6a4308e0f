"""What a request must be before the router reads it: every refusal names the field, in the API's spelling."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.candidate import MILLISECONDS_FROM, Candidate, Vector
from octoroute_py.neural.errors import InvalidInput

F32 = NDArray[np.float32]

LARGEST_DIMENSIONS = 16_384
MOST_CANDIDATES = 10_000
LONGEST_ID = 512
LARGEST_COUNT = 2**53


def vector(values: Vector, field: str) -> F32:
    """An embedding (D,) as float32; raises InvalidInput for what is none."""
    found = _numbers(values, field)
    with np.errstate(over="ignore"):
        single = found.astype(np.float32)
    if not np.isfinite(single).all():
        raise _not_finite(field)
    return single


def embeddings(candidates: Sequence[Candidate], dimensions: int) -> F32:
    """The embeddings (N, D) of candidates that are all in order and of the query's dimensions."""
    if len(candidates) > MOST_CANDIDATES:
        raise InvalidInput(f"candidates must be at most {MOST_CANDIDATES}", field="candidates")
    seen: set[str] = set()
    rows = np.empty((len(candidates), dimensions), dtype=np.float32)
    with np.errstate(over="ignore"):
        for at, each in enumerate(candidates):
            where = f"candidates[{at}]"
            check(each, where)
            if each.id in seen:
                raise InvalidInput(f"{where}.id stands twice in the list", field=f"{where}.id")
            seen.add(each.id)
            row = _numbers(each.embedding, f"{where}.embedding")
            if len(row) != dimensions:
                raise InvalidInput(
                    f"{where}.embedding has {len(row)} dimensions, the query {dimensions}", field=f"{where}.embedding"
                )
            rows[at] = row
    odd = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(odd):
        raise _not_finite(f"candidates[{odd[0]}].embedding")
    return rows


def check(candidate: Candidate, where: str) -> None:
    """Raises InvalidInput unless everything but the embedding is in order."""
    if not isinstance(candidate.id, str) or not 1 <= len(candidate.id) <= LONGEST_ID or not _can_be_kept(candidate.id):
        raise InvalidInput(f"{where}.id must be a text of 1 to {LONGEST_ID} characters", field=f"{where}.id")
    rate = candidate.success_rate
    if not _is_number(rate) or not 0.0 <= rate <= 1.0:
        raise InvalidInput(f"{where}.successRate must be from 0 to 1", field=f"{where}.successRate")
    count = candidate.access_count
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= LARGEST_COUNT:
        raise InvalidInput(f"{where}.accessCount must be a whole number from 0 on", field=f"{where}.accessCount")
    made = candidate.created_at
    if made is not None and (not _is_number(made) or not abs(made) < 2**63):
        raise InvalidInput(f"{where}.createdAt must be a Unix time in seconds", field=f"{where}.createdAt")


def created_s(created_at: float | None, now: float) -> float:
    """The Unix time in seconds that a candidate was made; None is now, very large values are milliseconds."""
    if created_at is None:
        return now
    return created_at / 1000.0 if created_at > MILLISECONDS_FROM else float(created_at)


def _numbers(values: Vector, field: str) -> NDArray[np.generic]:
    """A list of numbers as an array (D,) of whatever type they are."""
    try:
        found = np.asarray(values)
    except ValueError:
        raise InvalidInput(f"{field} must be a list of numbers", field=field) from None
    if found.ndim != 1 or (found.dtype.kind not in "fiu" and found.size):
        raise InvalidInput(f"{field} must be a list of numbers", field=field)
    if not 1 <= len(found) <= LARGEST_DIMENSIONS:
        raise InvalidInput(f"{field} must have 1 to {LARGEST_DIMENSIONS} dimensions", field=field)
    return found


def _not_finite(field: str) -> InvalidInput:
    return InvalidInput(f"{field} holds a number that is not finite as float32", field=field)


def _can_be_kept(text: str) -> bool:
    """Whether every database takes the text: no lone surrogates, no NUL."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
