"""Everything that can go wrong for a client, as one tree.

    GatewayError            status, type, code, client-safe message
    ├── BadRequest          400 (413, 422 ... by `status`)  the request itself is wrong
    ├── Denied              401 / 403                       who is asking
    ├── NotFound            404                             no such model or route
    ├── Refused             429 / 503                       we may not or cannot take it now; has Retry-After
    ├── UpstreamFailed      502 / 503 / 504                 what the attempts came to
    └── UpstreamRejected    400 / 404 / 413 / 422           the upstream's own verdict on the request, passed on once

    ConfigError             a config that cannot be used: the CLI prints it and exits 78

Messages are written here or by the caller for the client; they are never built from `str(exception)`, so no URL, key
or traceback can slip into an answer.
"""

from typing import ClassVar

import msgspec


class GatewayError(Exception):
    """An error the client is told about in OpenAI's envelope."""

    type: ClassVar[str] = "server_error"
    default_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        error_type: str | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.client_message = message
        self.code = code
        self.status = self.default_status if status is None else status
        self.param = param
        self.retry_after_s = retry_after_s
        self.error_type = error_type or self.type
        self.final = final
        """Trying again soon is of no use: somebody has to mend something first."""

    def body(self) -> bytes:
        """The JSON envelope `{"error": {message, type, param, code}}`."""
        return msgspec.json.encode(
            {
                "error": {
                    "message": self.client_message,
                    "type": self.error_type,
                    "param": self.param,
                    "code": self.code,
                }
            }
        )


class BadRequest(GatewayError):
    """The request cannot be served as it is; `param` names the field to blame."""

    type = "invalid_request_error"
    default_status = 400

    def __init__(
        self, message: str, *, param: str | None = None, code: str = "invalid_request_error", status: int | None = None
    ) -> None:
        super().__init__(message, code=code, param=param, status=status)


class Denied(GatewayError):
    """Missing or wrong key (401 `invalid_api_key`), or a key without the needed role (403 `permission_denied`)."""

    type = "authentication_error"
    default_status = 401


class NotFound(GatewayError):
    """No such model (`model_not_found`) or route (`not_found`)."""

    type = "invalid_request_error"
    default_status = 404


class Refused(GatewayError):
    """The gateway does not take the request now: `overloaded`, `rate_limit_exceeded`, `no_endpoint_available` ..."""

    type = "server_error"
    default_status = 503


class UpstreamFailed(GatewayError):
    """Every attempt failed; status and code are those of the first real cause."""

    type = "upstream_error"
    default_status = 502


class UpstreamRejected(GatewayError):
    """The upstream found the request itself wrong; its status is kept, its text cleaned of URLs and keys."""

    type = "invalid_request_error"
    default_status = 400


class ConfigError(Exception):
    """A config that cannot be used; the message lists every problem, one a line."""
