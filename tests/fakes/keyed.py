"""Keys in a gateway's hands without a database: each presented key is somebody."""

from octoroute_py.admission.auth import ANONYMOUS, Principal, presented_key
from octoroute_py.core.allowance import Grant
from octoroute_py.core.errors import Denied
from octoroute_py.core.words import Role

# `object`: whatever else the porter looks at, it is not what these keys are about.


class Keyed:
    """Stands in for the access rules: it knows who holds which key, and lets nobody else in."""

    def __init__(self, principals: dict[str, Principal]) -> None:
        self._principals = principals

    def authorize(self, headers: list[tuple[bytes, bytes]], *, needed: Role | None, **_: object) -> Principal:
        """Whose key it is, if they may."""
        key = presented_key(headers)
        principal = self._principals.get("" if key is None else key.decode(), Principal(ANONYMOUS, None, ANONYMOUS))
        if needed is not None and not principal.may(needed):
            status, code = (401, "invalid_api_key") if principal.role is None else (403, "permission_denied")
            raise Denied("This key may not.", code=code, status=status)
        return principal

    def authorize_optional(self, headers: list[tuple[bytes, bytes]], *, needed: Role, **_: object) -> Principal | None:
        """Whose key it is, if they hold the role and are bound to no workspace."""
        principal = self.authorize(headers, needed=None)
        return principal if principal.may(needed) and principal.workspaces is None else None


def holder(role: Role, *, key_id: str = "key_1", **grant: object) -> Principal:
    """Whoever holds an issued key with this grant."""
    return Principal(f"{role.value} of the team", role, key_id, Grant(**grant))  # type: ignore[arg-type]


def shown(key: str) -> dict[str, str]:
    """The key as a request shows it."""
    return {"authorization": f"Bearer {key}"}
