"""Who is asking, and may they: keys, roles and what stays open (contract §7)."""

import hmac
import ipaddress
from collections.abc import Collection, Iterable

from octoroute_py.admission.clients import ClientCertificate, Clients
from octoroute_py.admission.jwt import Tokens
from octoroute_py.admission.keyring import NONE_ISSUED, Holder, IssuedKeys, KeyRing
from octoroute_py.admission.origin import Origins
from octoroute_py.admission.principal import ANONYMOUS, Principal
from octoroute_py.admission.throttle import WrongKeys
from octoroute_py.config.schema import AuthConfig, AuthMode, KeyConfig
from octoroute_py.core import clock
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import BadRequest, Denied, GatewayError, Refused
from octoroute_py.core.words import Role


def presented_key(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The key that a request carries in `Authorization: Bearer` or `X-API-Key`, or None.

    `headers` have lower-case names. Raises BadRequest for a malformed header and for two different keys, Denied (401)
    for another scheme than Bearer. The same key given twice is fine.
    """
    key: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            parts = value.split()
            if len(parts) == 2 and parts[0].lower() == b"bearer":
                found = parts[1]
            elif parts and parts[0].lower() != b"bearer":
                raise _denied("The only scheme accepted in Authorization is 'Bearer'.")
            else:
                raise BadRequest("The Authorization header must be 'Bearer' and one key.")
        elif name == b"x-api-key":
            found = value.strip()
            if not found:
                raise BadRequest("The X-API-Key header is empty.")
        else:
            continue
        if key is None:
            key = found
        elif not hmac.compare_digest(key, found):
            raise BadRequest("The request carries two different keys; send one.")
    return key


class Access:
    """Decides for every route whether a request may pass; one object for one listener and one configuration.

    `loopback` says whether the listener is only reachable from this machine. `generated` is the admin key that the
    first start made, `issued` are the keys of the directory, whose expiry goes by `wall`. `wrong_keys` lets several
    listeners, and the next configuration, share one memory of wrong keys. `origins` are the web origins whose pages may
    use open routes. Without any key a listener that is not loopback refuses everything but open routes.
    Tokens of `auth.jwt` are as good as keys; what is no key is tried as one. Whoever shows a client certificate that
    `auth.clients` knows is that client wherever no key is known that came with the request.
    """

    __slots__ = ("_anonymous", "_clients", "_keys", "_loopback", "_origins", "_tokens", "_wall", "_wrong_keys")

    def __init__(
        self,
        auth: AuthConfig,
        *,
        loopback: bool,
        generated: KeyConfig | None,
        issued: IssuedKeys = NONE_ISSUED,
        wrong_keys: WrongKeys | None = None,
        origins: Iterable[str] = (),
        wall: Wall = clock.wall,
    ) -> None:
        self._keys = KeyRing(auth.keys if generated is None else (*auth.keys, generated), issued)
        self._tokens = None if auth.jwt is None else Tokens(auth.jwt)
        self._clients = Clients(auth.clients)
        roles = self._keys.roles | {client.role for client in auth.clients}
        if self._tokens is not None:
            roles = frozenset(Role)  # whatever a token's scopes come to
        self._anonymous = Principal(ANONYMOUS, _anonymous_role(auth.mode, roles, loopback=loopback), ANONYMOUS)
        self._wrong_keys = WrongKeys() if wrong_keys is None else wrong_keys
        self._origins = Origins(origins)
        self._loopback = loopback
        self._wall = wall

    def authorize(
        self,
        headers: list[tuple[bytes, bytes]],
        *,
        needed: Role | None,
        source: str,
        now: float,
        certificate: ClientCertificate | None = None,
    ) -> Principal:
        """Who this is, if they may; `needed` None is an open route, which a stranger may use too.

        `source` is the peer's address, `now` monotonic seconds, `certificate` what the connection was made with. Raises
        Denied 401 `invalid_api_key` or 403 `permission_denied`, Refused 429 after too many wrong keys from one source,
        BadRequest for two different keys. A key that nobody knows is ignored wherever no key is needed: OpenAI's
        clients always send one.
        """
        anonymous = self._anonymous
        unkeyed = anonymous if certificate is None else self._certified(certificate)
        if needed is None:
            return self._known(headers, source) or unkeyed
        if unkeyed.may(needed) or anonymous.may(needed):
            known = self._known(headers, source)
            if known is None:
                return self._unkeyed(headers, unkeyed)
            if known.may(needed) or anonymous.may(needed):
                return known
            raise _lacking(needed, "key")  # the role of a certificate without its bounds would be nobody's
        key = presented_key(headers)
        if key is None and unkeyed is not anonymous:
            raise _lacking(needed, "certificate")
        if key is None:
            raise _denied("This route needs a key: send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.")
        holder = self._holder(key)
        if holder is None:
            raise self._wrong_key(source, now)
        if not _from_here(holder, source):
            raise Denied("This key may not be used from this address.", code="permission_denied", status=403)
        principal = holder.principal
        if not principal.may(needed):
            raise _lacking(needed, "key")
        return principal

    def authorize_optional(
        self,
        headers: list[tuple[bytes, bytes]],
        *,
        needed: Role,
        source: str,
        certificate: ClientCertificate | None = None,
    ) -> Principal | None:
        """Who this is if they hold `needed`, else None: for open answers that tell more to whoever may see everything.

        A key that is bound to workspaces may not.
        """
        unkeyed = self._anonymous if certificate is None else self._certified(certificate)
        found = [self._known(headers, source), unkeyed, self._anonymous]
        if not self._is_named_well(headers):
            found = [each for each in found if each is not self._anonymous]
        return next((each for each in found if each and each.may(needed) and each.workspaces is None), None)

    def _certified(self, certificate: ClientCertificate) -> Principal:
        """Whose certificate it is; whoever has one that nobody knows is a stranger as without."""
        return self._clients.find(certificate, wall_s=self._wall()) or self._anonymous

    def _known(self, headers: list[tuple[bytes, bytes]], source: str) -> Principal | None:
        try:
            key = presented_key(headers)
        except Denied:
            return None  # another scheme is no key of ours, and none is needed
        holder = None if key is None else self._holder(key)
        return None if holder is None or not _from_here(holder, source) else holder.principal

    def _holder(self, key: bytes) -> Holder | None:
        """Whoever holds this key, or this token."""
        wall_s = self._wall()
        holder = self._keys.find(key, wall_s=wall_s)
        return self._tokens.find(key, wall_s=wall_s) if holder is None and self._tokens is not None else holder

    def _unkeyed(self, headers: list[tuple[bytes, bytes]], principal: Principal) -> Principal:
        """Whoever comes without a key, unless it is a web page from elsewhere: browsers show certificates unasked."""
        for name, value in headers:
            if name == b"origin" and not self._origins.admits(value, host=None if self._loopback else _host(headers)):
                raise Denied(
                    "Web pages of this origin may not use the gateway without a key; cors.origins can allow them.",
                    code="permission_denied",
                    status=403,
                )
        if principal is self._anonymous and not self._is_named_well(headers):
            raise Denied(
                "Nobody without a key may use the gateway by this name; cors.origins can allow it.",
                code="permission_denied",
                status=403,
            )
        return principal

    def _is_named_well(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether it is called by a name that no page from elsewhere can have given to a gateway on loopback."""
        host = _host(headers) if self._loopback else None
        return host is None or self._origins.knows(host)

    def _wrong_key(self, source: str, now: float) -> GatewayError:
        wait_s = self._wrong_keys.strike(source, now)
        if wait_s is None:
            return _denied("Incorrect API key provided.")
        return Refused(
            "Too many wrong keys from this address; try again later.",
            code="rate_limit_exceeded",
            status=429,
            retry_after_s=wait_s,
            error_type="rate_limit_error",
        )


def _from_here(holder: Holder, source: str) -> bool:
    return holder.networks is None or source in holder.networks


def _anonymous_role(mode: AuthMode, roles: Collection[Role], *, loopback: bool) -> Role | None:
    if mode is AuthMode.NONE:
        return Role.ADMIN
    if not loopback:
        return None
    if not roles:
        return Role.ADMIN
    if all(role is Role.ADMIN for role in roles):
        return Role.INFERENCE
    return None


def _host(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    return next((value for name, value in headers if name == b"host"), None)


def _lacking(needed: Role, what: str) -> Denied:
    return Denied(f"This {what} lacks the role '{needed.value}'.", code="permission_denied", status=403)


def _denied(message: str) -> Denied:
    return Denied(message, code="invalid_api_key", status=401)


def is_loopback(host: str) -> bool:
    """Whether a listener on this host can only be reached from this machine: 127.0.0.0/8, ::1 or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
