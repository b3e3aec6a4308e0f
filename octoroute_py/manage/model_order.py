"""What somebody asks for who registers models and endpoints, and what has to hold for it by itself."""

import uuid
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from octoroute_py.config.addresses import Wrong, network
from octoroute_py.core.catalog import Id, Model, ModelEndpoint
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import TIERS, Location

MOST_ENDPOINTS_AT_ONCE: Final = 64
MOST_PARAMETER_BYTES: Final = 16 * 1024
MOST_TOKENS: Final = 1_000_000_000
RESERVED: Final = frozenset({"auto", "batch", *(tier.value for tier in TIERS), *(place.value for place in Location)})
"""Words that mean something else where an id stands (contract §2); `batch` is a path."""
USED_PARAMETERS: Final = ("temperature", "maxTokens")


def _new_id() -> str:
    return str(uuid.uuid4())


class EndpointOrder(ModelEndpoint, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A new endpoint: `id` is made when none is given, `model_id` is that of the path."""

    id: Id = ""
    model_id: Id = ""


class ModelOrder(Model, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A new model, and endpoints that are registered with it: all of it or nothing."""

    id: Id = msgspec.field(default_factory=_new_id)
    endpoints: Annotated[tuple[EndpointOrder, ...], Meta(max_length=MOST_ENDPOINTS_AT_ONCE)] = ()

    def model(self) -> Model:
        """The model alone."""
        return Model(**{name: getattr(self, name) for name in Model.__struct_fields__})


def check_parameters(model: Model) -> None:
    """Raises BadRequest unless the parameters that are sent can be sent."""
    if sum(len(name) + len(bytes(raw)) for name, raw in model.parameters.items()) > MOST_PARAMETER_BYTES:
        raise BadRequest(f"'parameters' has more than {MOST_PARAMETER_BYTES} bytes.", param="parameters")
    temperature, most = (_number(model, name) for name in USED_PARAMETERS)
    if temperature is not None and not 0 <= temperature <= 2:
        raise BadRequest("'temperature' must be a number from 0 to 2.", param="parameters.temperature")
    if most is not None and not (isinstance(most, int) and 1 <= most <= MOST_TOKENS):
        raise BadRequest(f"'maxTokens' must be a whole number from 1 to {MOST_TOKENS}.", param="parameters.maxTokens")


def check_networks(endpoint: ModelEndpoint, *, at: str) -> None:
    """Raises BadRequest unless `allowNetworks` holds networks; `at` is where the endpoint stands in the body."""
    for place, text in enumerate(endpoint.allow_networks):
        try:
            network(text)
        except Wrong as error:
            raise BadRequest(f"It {error}.", param=f"{at}allowNetworks[{place}]") from None


def _number(model: Model, name: str) -> float | None:
    raw = model.parameters.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=int | float)
    except msgspec.MsgspecError:
        raise BadRequest(f"'{name}' must be a number.", param=f"parameters.{name}") from None
