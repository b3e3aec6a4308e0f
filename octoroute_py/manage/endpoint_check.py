"""What has to hold for models and endpoints beside what else there is: names, credentials, and where they may be."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.addresses import Wrong
from octoroute_py.config.problems import did_you_mean
from octoroute_py.config.schema import Config, NetworkRules
from octoroute_py.core.catalog import Model, ModelEndpoint
from octoroute_py.core.errors import BadRequest, Denied
from octoroute_py.core.registry import Kind
from octoroute_py.core.words import Role
from octoroute_py.manage.documents import Desk
from octoroute_py.manage.model_order import RESERVED, check_networks
from octoroute_py.tiers.registered import may_have, network_rules

CheckUrl: TypeAlias = Callable[[str, NetworkRules], Awaitable[str]]
"""The URL in the spelling to keep. Raises Wrong for one that the rules do not let the gateway ask."""

MOST_MODELS: Final = 2000
MOST_ENDPOINTS: Final = 2000


class EndpointCheck:
    """Looks at endpoints before they are kept; `file` is the configuration without what is registered."""

    def __init__(self, *, file: Callable[[], Config], base_url: CheckUrl, health_url: CheckUrl) -> None:
        self._file = file
        self._base_url = base_url
        self._health_url = health_url

    async def checked(self, endpoint: ModelEndpoint, *, by: Principal, at: str = "") -> ModelEndpoint:
        """The endpoint as it is kept; `at` is where it stands in the body.

        Raises BadRequest for a URL or a network that cannot be, Denied 403 for networks from anybody but an admin.
        """
        if endpoint.allow_networks and not by.may(Role.ADMIN):
            raise Denied("Only an admin may give 'allowNetworks'.", code="permission_denied", status=403)
        check_networks(endpoint, at=at)
        rules = network_rules(self._file(), endpoint)
        health = endpoint.health_check_url
        return msgspec.structs.replace(
            endpoint,
            url=await _passed(self._base_url, endpoint.url, rules, param=f"{at}url"),
            health_check_url=None
            if health is None
            else await _passed(self._health_url, health, rules, param=f"{at}healthCheckUrl"),
        )


async def _passed(check: CheckUrl, url: str, rules: NetworkRules, *, param: str) -> str:
    try:
        return await check(url, rules)
    except Wrong as error:
        raise BadRequest(f"The URL {error}.", param=param) from None


def check_name(id_: str, file: Config, *, param: str = "id") -> None:
    """Raises BadRequest for an id that means something else already: a reserved word (400), one of the file's (409)."""
    if id_.lower() in RESERVED:
        raise BadRequest(f"'{id_}' is a word of the gateway's own; choose another id.", param=param)
    if any(id_ in (each.name, each.id) for each in file.endpoints):
        raise BadRequest("The configuration file has this name or id.", status=409, code="already_exists", param=param)


def check_free(desk: Desk, id_: str, *, among: Kind, param: str = "id") -> None:
    """Raises BadRequest 409 for an id of a model or endpoint, and where there are as many of them as there may be."""
    for kind in (Kind.MODEL, Kind.ENDPOINT):
        if desk.get(kind, id_) is not None:
            told = f"There is {'a model' if kind is Kind.MODEL else 'an endpoint'} of this id already."
            raise BadRequest(told, status=409, code="already_exists", param=param)
    most = MOST_MODELS if among is Kind.MODEL else MOST_ENDPOINTS
    if desk.count(among) >= most:
        raise BadRequest(f"There are {most} of them, and may not be more.", status=409, code="limit_reached")


def check_credential(model: Model, endpoints: Iterable[ModelEndpoint], file: Config) -> None:
    """Raises BadRequest unless the credential is one of the configuration's and may go to every endpoint's host."""
    if model.credential is None:
        return
    known = dict(file.registry.credentials)
    found = known.get(model.credential)
    if found is None:
        hint = did_you_mean(model.credential, known)
        told = "[registry.credentials] has no credential of this name"
        raise BadRequest(f"{told}; {hint}" if hint else f"{told}.", param="credential")
    strange = [each.id for each in endpoints if not may_have(each.url, found.hosts)]
    if strange:
        raise BadRequest(
            f"The credential may not be sent to the endpoint '{strange[0]}': 'hosts' of [registry.credentials] says "
            "where it may, and that takes https, but on a private network.",
            param="credential",
        )
