"""Who sends a request, once that is known."""

import msgspec

from octoroute_py.core.allowance import Grant
from octoroute_py.core.words import Role

ANONYMOUS = "anonymous"
"""Name of a principal without a key."""


class Principal(msgspec.Struct, frozen=True):
    """Whoever sends a request: the name of the key, and its role.

    `role` None is a stranger at a closed gateway, who may use nothing but the open routes. `key_id` is the issued key's
    id, else the name: what the ledger and limits know a principal by. `grant` is there for issued keys and tokens.
    `beside` are roles of a token that its `role` does not include, as viewer and inference do not each other.
    """

    name: str
    role: Role | None
    key_id: str = ""
    grant: Grant | None = None
    beside: frozenset[Role] = frozenset()

    @property
    def workspaces(self) -> tuple[str, ...] | None:
        """The only workspaces this principal may see or use; None for all."""
        return None if self.grant is None else self.grant.workspaces

    def may(self, needed: Role) -> bool:
        """Whether this principal holds a role that includes `needed`."""
        return self.role is not None and (self.role.includes(needed) or needed in self.beside)
