"""The small network and what makes its numbers trustworthy; and the Tiny Dancer router, as a library.

The names below are imported when they are asked for: whoever does not use them does not load numpy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from octoroute_py.neural.body import RoutingDecision, RoutingResponse
    from octoroute_py.neural.candidate import (
        Candidate,
        Match,
        RouterConfig,
        RoutingRequest,
        Statistics,
    )
    from octoroute_py.neural.errors import (
        CircuitOpen,
        InferenceFailed,
        InvalidConfig,
        InvalidInput,
        ModelNotFound,
        ModelRefused,
        RouterError,
        StorageProblem,
    )
    from octoroute_py.neural.fastgrnn import FastGRNN
    from octoroute_py.neural.router import Router
    from octoroute_py.neural.store import Storage

_HOMES = {
    "body": ("RoutingDecision", "RoutingResponse"),
    "candidate": ("Candidate", "Match", "RouterConfig", "RoutingRequest", "Statistics"),
    "errors": (
        "CircuitOpen", "InferenceFailed", "InvalidConfig", "InvalidInput", "ModelNotFound", "ModelRefused",
        "RouterError", "StorageProblem",
    ),
    "fastgrnn": ("FastGRNN",),
    "router": ("Router",),
    "store": ("Storage",),
}  # fmt: skip

__all__ = [
    "Candidate",
    "CircuitOpen",
    "FastGRNN",
    "InferenceFailed",
    "InvalidConfig",
    "InvalidInput",
    "Match",
    "ModelNotFound",
    "ModelRefused",
    "Router",
    "RouterConfig",
    "RouterError",
    "RoutingDecision",
    "RoutingRequest",
    "RoutingResponse",
    "Statistics",
    "Storage",
    "StorageProblem",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"octoroute_py.neural.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
