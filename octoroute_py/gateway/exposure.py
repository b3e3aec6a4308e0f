"""What experiments and canary deployments gave a request, for its row in the journal."""

import msgspec


class Exposure(msgspec.Struct, frozen=True):
    """An arm that a request was given, as `name:arm`; it counts when one of `endpoints` was tried (None: any)."""

    label: str
    endpoints: frozenset[str] | None = None
