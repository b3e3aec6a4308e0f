"""What the Tiny Dancer router may raise, as one tree.

RouterError
├── InvalidInput       the request: wrong dimensions, a number that is none, an unknown candidate
├── InvalidConfig      the configuration: a threshold out of range
├── ModelNotFound      there is no model file at the path
├── ModelRefused       the file is no model, or one that cannot be right
├── InferenceFailed    the network answered with something that is no probability
├── CircuitOpen        it failed too often; `retry_in_s` says when it is tried again
└── StorageProblem     the database; its cause is one of `octoroute_py.storage.errors`
"""


class RouterError(Exception):
    """Something the router cannot do; the message says what and why."""


class InvalidInput(RouterError):
    """The request cannot be routed as it is; `field` names what is to blame, in the API's spelling."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidConfig(RouterError):
    """A setting out of its range."""


class ModelNotFound(RouterError):
    """The model file does not exist; nothing stands in for it."""


class ModelRefused(RouterError):
    """The model file is damaged, of another format, or computes nonsense."""


class InferenceFailed(RouterError):
    """The network gave no probability."""


class CircuitOpen(RouterError):
    """The circuit breaker is open."""

    def __init__(self, message: str, *, retry_in_s: float) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s


class StorageProblem(RouterError):
    """The database refused or failed."""
