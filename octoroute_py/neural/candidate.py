"""The values of the Tiny Dancer router: what goes in, and what comes out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.errors import InvalidConfig

Vector: TypeAlias = Sequence[float] | NDArray[np.floating]
"""An embedding; kept and compared as float32."""

MILLISECONDS_FROM = 100_000_000_000
"""Unix times above this are milliseconds: in seconds it is the year 5138."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Something to route to: its embedding, and how it has done so far.

    `created_at` is Unix seconds (above 1e11: milliseconds), None means now. `success_rate` from 0 to 1 is the mean of
    `access_count` uses. `metadata` is compared with the request's.
    """

    id: str
    embedding: Vector
    metadata: Mapping[str, object] | None = None
    created_at: float | None = None
    access_count: int = 0
    success_rate: float = 0.0


class RoutingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A query's embedding and who may take it; without candidates the router's database is asked.

    `top_k` keeps only the most confident decisions (None: all).
    """

    query_embedding: Vector
    candidates: Sequence[Candidate] = ()
    metadata: Mapping[str, object] | None = None
    top_k: int | None = None


class Match(NamedTuple):
    """A stored candidate and its cosine similarity to what was looked for."""

    candidate: Candidate
    similarity: float


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The routing history in numbers; `success_rate` is over the outcomes that are known, None without any."""

    total_routes: int
    lightweight_routes: int
    powerful_routes: int
    avg_inference_time_us: float
    outcomes: int
    success_rate: float | None


class RouterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a router decides; raises InvalidConfig for values out of range.

    `model_path` None is the model that comes with the package. `use_lightweight` needs a confidence of at least
    `confidence_threshold` and an uncertainty of at most `max_uncertainty`. The breaker opens after
    `circuit_breaker_threshold` failed inferences in a row. `enable_quantization` puts a float32 model on the int8 grid
    when it is loaded. `database_path` None keeps nothing.
    """

    model_path: Path | str | None = None
    confidence_threshold: float = 0.85
    max_uncertainty: float = 0.15
    enable_circuit_breaker: bool = True
    circuit_breaker_threshold: int = 5
    enable_quantization: bool = True
    database_path: Path | str | None = None

    def __post_init__(self) -> None:
        for name in ("confidence_threshold", "max_uncertainty"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
                raise InvalidConfig(f"{name} must be a number from 0 to 1")
        threshold = self.circuit_breaker_threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
            raise InvalidConfig("circuit_breaker_threshold must be a whole number from 1 on")
