"""What one request carries from the door to its log line, and the snapshot it was decided under."""

import asyncio
from collections.abc import Mapping

import msgspec

from octoroute_py.admission.budget import Hold
from octoroute_py.admission.claims import Claim
from octoroute_py.admission.limits import Permit
from octoroute_py.admission.principal import ANONYMOUS, Principal
from octoroute_py.config.schema import AgentTypeLimits, Config, EndpointConfig
from octoroute_py.core.allowance import DEFAULT_WORKSPACE, WorkspacePolicy
from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import BadRequest, Refused
from octoroute_py.core.registry import Registry
from octoroute_py.core.rules import AgentPreferences
from octoroute_py.core.trace import Trail
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Surface, Tier
from octoroute_py.features.estimate import prompt_estimate
from octoroute_py.gateway.exposure import Exposure
from octoroute_py.gateway.grounds import Grounds
from octoroute_py.gateway.rollouts import Rollouts
from octoroute_py.gateway.scope import Scope, Scopes, workspace_of
from octoroute_py.gateway.targets import Targets
from octoroute_py.gateway.timers import Timers
from octoroute_py.gateway.trials import Trials
from octoroute_py.ledger.outcome import Attempt, Outcome
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.intent import Catalog
from octoroute_py.routing.policy import HEADERS, Hints, header_text, read_hints
from octoroute_py.routing.rulebook import Rulebook
from octoroute_py.tiers.demands import Demand
from octoroute_py.tiers.table import TierTable
from octoroute_py.transport.headers import OWN_MARK, VIA
from octoroute_py.transport.heard import Heard
from octoroute_py.transport.openai import Envelope

RawHeaders = list[tuple[bytes, bytes]]
"""Request headers as ASGI gives them: lower-case names, in order."""

_HINT_HEADERS = frozenset(name.lower().encode() for name in HEADERS.values())
_READ = _HINT_HEADERS | {VIA}
_NO_HINTS = Hints()
_CALLERS = ("user", "safety_identifier")
"""Where an OpenAI body tells who its end user is."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration in force with all that was worked out from it; requests keep theirs to the end.

    `generation` counts up by one with every reload and every change of the `registry`. Live endpoint state inside
    `table` outlives a snapshot. `gated` tells whether any endpoint declares capabilities or a context window,
    `header_rules` and `metadata_rules` whether any rule looks at those: where not, that work is not done. `rulebook`
    are the rules of operators for all requests, `rulebooks` those and the rules of a rule set, by its id, for the sets
    of experiments that run. `demands` is what agent types ask of who answers them, `reads_words` whether any strategy
    looks at the words of a request. `baseline` is the endpoint whose prices "all deep" means. `agent_types` are those
    with limits; `unlimited`: the configuration itself limits nobody.
    """

    generation: int
    config: Config
    catalog: Catalog
    router: Cascade
    table: TierTable
    registry: Registry
    targets: Targets
    demands: Mapping[str, Demand]
    rollouts: Rollouts
    trials: Trials
    reads_words: bool
    scopes: Scopes
    timers: Timers
    gated: bool
    rulebook: Rulebook
    rulebooks: Mapping[str, Rulebook] = {}
    header_rules: bool
    metadata_rules: bool
    baseline: EndpointConfig | None = None
    agent_types: Mapping[str, AgentTypeLimits] = {}
    unlimited: bool = False

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """The ids of all rules, whether they are asked now or not: the file's, the API's, the built-in ones."""
        table = () if self.router.rules is None else self.router.rules.book.rules
        of_file = (*self.rulebook.rules, *self.rulebook.disabled)
        return tuple(
            dict.fromkeys((*(rule.id for rule in of_file), *self.registry.rules, *(rule.id for rule in table)))
        )


class RequestContext:
    """One request's life, filled in as it walks through the house.

    Times are monotonic seconds. `gone` is set when the client left, `cut` when the gateway itself ends the request.
    `task` is the task that serves it, for both to be told at once. `envelope` is there once the request was read,
    `workspace` and `scope` (where it may go; None: anywhere) once it has entered. `usage`, `estimated` and
    `baseline_uusd` are those of the answer, `cost_uusd` is the price of every attempt so far, `priced` whether any of
    them has one.

    `source` is the peer's address, `entry` tells requests apart that came with one id, `started_ms` is Unix time as the
    journal believes it. `claims` is whom the request counts for, `permit` and `hold` what they gave it; `capped`
    says that a budget applies, so that its answer must not grow without limit. `judged` says that a judge was asked for
    it, or may have been. `exposures` are the arms it was given. `metadata` is what rules see in place of the body's
    own, where it was told apart from that. `grounds` are how it was decided about, once it was; `trail` is there where
    requests are traced, `heard` where content is captured. `outcome` is there once it has ended,
    `kept` once its row was handed to the journal.
    """

    __slots__ = (
        "_prompt_tokens",
        "attempts",
        "baseline_uusd",
        "broken_stream",
        "capped",
        "claims",
        "cost_uusd",
        "cut",
        "deadline_s",
        "decided_tier",
        "decision",
        "endpoint_id",
        "entry",
        "envelope",
        "error_code",
        "estimated",
        "exposures",
        "first_event_s",
        "gone",
        "grounds",
        "heard",
        "hints",
        "hold",
        "judged",
        "kept",
        "metadata",
        "monotonic",
        "outcome",
        "permit",
        "policy",
        "priced",
        "principal",
        "raw_headers",
        "refusal",
        "request_id",
        "request_type",
        "routing_s",
        "scope",
        "sends",
        "snapshot",
        "source",
        "started_ms",
        "started_s",
        "status",
        "stream",
        "surface",
        "task",
        "trail",
        "usage",
        "user_id",
        "wall",
        "warnings",
        "workspace",
    )

    def __init__(
        self,
        *,
        request_id: str,
        surface: Surface,
        snapshot: Snapshot,
        principal: Principal,
        raw_headers: RawHeaders,
        monotonic: Monotonic,
        wall: Wall,
        source: str = "unknown",
        entry: int = 0,
    ) -> None:
        self.envelope: Envelope
        self.request_id = request_id
        self.surface = surface
        self.snapshot = snapshot
        self.principal = principal
        self.raw_headers = raw_headers
        self.monotonic, self.wall = monotonic, wall
        self.started_s = self.deadline_s = monotonic()
        self.source, self.entry = source, entry
        self.hints = _NO_HINTS
        self.policy: WorkspacePolicy | None = None
        self.claims: tuple[Claim, ...] = ()
        self.permit: Permit | None = None
        self.hold: Hold | None = None
        self.workspace = DEFAULT_WORKSPACE
        self.scope: Scope | None = None
        self.decision: Decision | None = None
        self.endpoint_id: str | None = None
        self.decided_tier: Tier | None = None
        self.routing_s: float | None = None
        self.attempts: list[Attempt] = []
        self.usage: Usage | None = None
        self._prompt_tokens: int | None = None
        self.first_event_s: float | None = None
        self.warnings: list[str] = []
        self.exposures: tuple[Exposure, ...] = ()
        self.status = 500
        self.error_code: str | None = None
        self.outcome: Outcome | None = None
        self.grounds: Grounds | None = None
        self.heard: Heard | None = None
        self.user_id: str | None = None
        self.request_type: str | None = None
        self.metadata: msgspec.Raw | None = None
        self.refusal: Refused | None = None
        self.trail: Trail | None = None
        self.task: asyncio.Task[object] | None = None
        self.stream = self.broken_stream = self.estimated = self.priced = False
        self.capped = self.judged = self.kept = self.gone = self.cut = False
        self.sends = self.cost_uusd = self.baseline_uusd = self.started_ms = 0

    def read(self, envelope: Envelope) -> None:
        """Take the parsed body, and the hints of headers and body.

        Raises BadRequest for a wrong hint, Refused 508 for a request that this gateway itself has sent.
        """
        self.envelope = envelope
        self.stream = envelope.stream
        given: dict[str, str] = {}
        for name, value in self.raw_headers:
            if name not in _READ:
                continue
            if name == VIA:
                _refuse_own(value)
            else:
                text = header_text(value)
                if given.setdefault(name.decode(), text) != text:
                    raise BadRequest(f"{name.decode()} is given twice with different values.", param=name.decode())
        if given or envelope.octoroute:
            self.hints = read_hints(given, envelope.octoroute)

    def prompt_tokens(self) -> int:
        """What the prompt is taken for where nobody counted it; worked out when first asked for."""
        if self._prompt_tokens is None:
            self._prompt_tokens = prompt_estimate(self.surface, self.envelope.fields)
        return self._prompt_tokens

    def stable_id(self) -> str | None:
        """By what a caller is known from one request to the next: a session, a user, its key; None for a stranger."""
        if self.hints.session is not None:
            return f"session:{self.hints.session}"
        for name in _CALLERS:
            raw = self.envelope.fields.get(name)
            user = "" if raw is None else _text(raw)
            if user:
                return f"user:{user}"
        if self.user_id is not None:
            return f"user:{self.user_id}"
        return None if self.principal.key_id == ANONYMOUS else f"key:{self.principal.key_id}"

    @property
    def preferences(self) -> AgentPreferences | None:
        """What its agent type prefers; None for one without preferences."""
        agent_type = self.hints.agent_type
        return None if agent_type is None else self.snapshot.registry.preferences.get(agent_type)

    def enter(self, policies: Mapping[str, WorkspacePolicy]) -> None:
        """Settle whose request it is, by the policies of workspaces in force. Raises Denied for another's workspace."""
        principal = self.principal
        self.workspace = workspace_of(principal, self.hints.workspace)
        self.policy = policies.get(self.workspace)
        self.scope = self.snapshot.scopes.of(self.policy, principal.grant)

    def rule_headers(self) -> dict[str, str]:
        """The headers that rules may look at; none are read when no rule does."""
        if not self.snapshot.header_rules:
            return {}
        return {name.decode("latin-1"): header_text(value) for name, value in self.raw_headers}

    def rule_metadata(self) -> msgspec.Raw | None:
        """The metadata that rules may look at, None when no rule does or there is none."""
        if not self.snapshot.metadata_rules:
            return None
        return self.metadata if self.metadata is not None else self.envelope.fields.get("metadata")

    def leave(self) -> None:
        """The client is gone: stop whatever is being done for it."""
        self.gone = True
        if self.task is not None:
            self.task.cancel()

    def cut_off(self) -> None:
        """The gateway ends this request now; its last word is an error."""
        self.cut = True
        if self.task is not None:
            self.task.cancel()


def _refuse_own(marks: bytes) -> None:
    """An endpoint that leads back here would have us send every request for ever; for its breaker it has failed."""
    if OWN_MARK in marks:
        raise Refused("This request came from this gateway itself.", code="loop_detected", status=508, final=True)


def _text(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, ValueError):
        return ""  # what a client means by something else is its upstream's business
