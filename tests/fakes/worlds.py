"""Random worlds: rules of every condition, models of every status, preferences, splits, and requests that meet them."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.catalog import EndpointRole, Model, ModelEndpoint, ModelStatus, Provider
from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus
from octoroute_py.core.rollout import CanaryDeployment, RolloutStatus, Split
from octoroute_py.core.rules import (
    AgentPreferences,
    Conditions,
    ContentLength,
    CustomConditions,
    Matcher,
    PerformanceRequirements,
    RequestType,
    RoutingRule,
    RuleTarget,
    Test,
    TimeOfDay,
    TrafficSplit,
)
from octoroute_py.core.words import TIERS, Tier

AGENTS = ("chef", "waiter", "cook", "guest")
WORKSPACES = ("default", "red", "blue", "green")
USER_TIERS = ("gold", "silver")
SESSIONS = ("s-1", "s-2", "s-3")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia")
TASKS = ("casual_chat", "code", "creative_writing", "deep_analysis", "document_summary", "question_answer")
HEADERS = {"X-Team": ("red", "reddish", "blue", "5"), "X-Env": ("prod", "test")}
METADATA: dict[str, tuple[Any, ...]] = {"course": ("starter", "main"), "n": (1, 2, "2", 2.5), "vip": (True, False)}
CAPABILITIES = ("tools", "vision", "json", "poetry")
WORDS = (
    "Hi",
    "please debug this function",
    "write a poem",
    "summarize",
    "what is",
    "analyze in depth",
    "und noch eins",
)
FILE_NAMES = ("small", "tiny", "middle", "large", "huge")


def file_config(base_url: str, *, strategy: str, rng: random.Random) -> str:
    """A configuration with two models in the fast and the deep tier, and rules of its own."""
    tier_of = {"small": "fast", "tiny": "fast", "middle": "balanced", "large": "deep", "huge": "deep"}
    models = "".join(
        f'[[models.{tier_of[name]}]]\nname = "{name}"\nbase_url = "{base_url}"\n'
        f"priority = {rng.choice((1, 1, 2))}\nweight = {rng.choice((1.0, 3.0))}\n{_extras(rng)}"
        for name in FILE_NAMES
    )
    rules = "".join(_file_rule(number, rng) for number in range(6))
    return (
        f'{models}[routing]\nstrategy = "{strategy}"\ntier_fallback = "{rng.choice(("up", "both", "none"))}"\n{rules}'
        '[health]\nenabled = false\n[observability]\nlog_level = "error"\n'
    )


def _extras(rng: random.Random) -> str:
    found = 'capabilities = ["tools", "vision", "json"]\n' if rng.random() < 0.3 else ""
    found += "context_window = 400\n" if rng.random() < 0.2 else ""
    return found + ('location = "cloud"\n' if rng.random() < 0.5 else "")


def _file_rule(number: int, rng: random.Random) -> str:
    when = {
        "min_tokens": rng.randint(0, 200),
        "task_type": rng.sample(TASKS, 2),
        "importance": rng.sample(("low", "normal", "high"), 2),
        "has_tools": rng.random() < 0.5,
        "pattern": rng.choice(("poem", "^Hi", "noch")),
        "hours": ["22:00-06:00"],
        "header": {"X-Env": "prod"},
    }
    kept = rng.sample(sorted(when), 3)
    lines = "".join(f"when.{name} = {_toml(when[name])}\n" for name in kept)
    return (
        f'[[routing.rules]]\nname = "file-{number}"\npriority = {rng.randint(0, 20)}\n'
        f'enabled = {_toml(rng.random() < 0.9)}\n{lines}tier = "{rng.choice(TIERS)}"\n'
    )


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{name}" = {_toml(each)}' for name, each in value.items()) + " }"
    return msgspec.json.encode(value).decode()


class World:
    """What operators set, at random; `models` serve at `base_url`."""

    def __init__(self, base_url: str, *, rng: random.Random, rules: int = 40) -> None:
        self._rng = rng
        self._url = base_url
        self.models = [self._model(f"m-{number}") for number in range(8)]
        self.endpoints = [each for model in self.models for each in self._endpoints(model)]
        ids = [model.id for model in self.models]
        self.names = [*(tier.value for tier in TIERS), *FILE_NAMES, "fast/small#1", "deep/huge#1", *ids]
        self.rules = [self._rule(number) for number in range(rules)]
        self.preferences = [self._preferences(agent) for agent in rng.sample(AGENTS, 3)]
        self.canaries = [self._canary(number, ids) for number in range(2)]
        self.experiments = [self._experiment()]
        self.policies = {
            "red": WorkspacePolicy(restrictions=tuple(rng.sample(self.names, 6))),
            "blue": WorkspacePolicy(restrictions=tuple(rng.sample(ids, 3)), deny=True),
            "green": WorkspacePolicy(compliance=("gdpr",)),
        }

    # requests

    def hints(self) -> dict[str, Any]:
        """Hints of a request, as its `octoroute` object has them."""
        found = {
            "agent_type": self._maybe(0.7, AGENTS),
            "workspace": self._maybe(0.4, WORKSPACES),
            "user_tier": self._maybe(0.4, USER_TIERS),
            "session": self._maybe(0.3, SESSIONS),
            "importance": self._maybe(0.3, ("low", "normal", "high")),
            "task_type": self._maybe(0.3, TASKS),
            "privacy": self._maybe(0.03, ("local-only",)),
        }
        return {name: value for name, value in found.items() if value is not None}

    def headers(self) -> dict[str, str]:
        """Headers that rules may look at."""
        return {name: self._rng.choice(HEADERS[name]) for name in HEADERS if self._rng.random() < 0.5}

    def metadata(self) -> dict[str, Any]:
        """Members that rules may look at, and one that they may not."""
        found = {name: self._rng.choice(METADATA[name]) for name in METADATA if self._rng.random() < 0.5}
        return found | ({"nested": {"n": 1}} if self._rng.random() < 0.2 else {})

    def text(self) -> str:
        """A prompt of any length."""
        rng = self._rng
        return " ".join(rng.choices(WORDS, k=rng.choice((1, 1, 2, 5, 40, 150))))

    def model_asked(self) -> str:
        """Mostly the gateway's choice, else any name there is or is not."""
        if self._rng.random() < 0.75:
            return self._rng.choice(("auto", "AUTO"))
        return self._rng.choice([*self.names, "m-1:1", "m-2:1", "nobody"])

    def chat(self) -> dict[str, Any]:
        """The body of a chat completion."""
        rng = self._rng
        content: Any = self.text()
        if rng.random() < 0.05:
            content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": {"url": "data:,"}}]
        body: dict[str, Any] = {"model": self.model_asked(), "messages": [{"role": "user", "content": content}]}
        if rng.random() < 0.2:
            body["messages"].insert(0, {"role": "system", "content": self.text()})
        if rng.random() < 0.15:
            body["tools"] = [{"type": "function", "function": {"name": "f"}}]
        if rng.random() < 0.2:
            body["stream"] = True
        if rng.random() < 0.3:
            body["max_tokens"] = rng.choice((10, 300))
        return body | self._common()

    def other(self, surface: str) -> dict[str, Any]:
        """The body of another operation."""
        body: dict[str, Any] = {
            "model": self.model_asked(),
            ("prompt" if surface == "completions" else "input"): self.text(),
        }
        return body | self._common()

    def words(self, id_: str) -> dict[str, Any]:
        """A request in the Model Router Service's words."""
        rng = self._rng
        metadata = self.metadata()
        if rng.random() < 0.7:
            metadata["requestType"] = rng.choice(("completion", "chat", "analysis", "embedding"))
        if rng.random() < 0.4:
            metadata["priority"] = rng.choice(("low", "normal", "high", "critical"))
        if rng.random() < 0.3:
            metadata["userTier"] = rng.choice(USER_TIERS)
        model = self.model_asked()
        return {
            "id": id_,
            "agentType": rng.choice(AGENTS),
            "workspaceId": rng.choice(WORKSPACES),
            "userId": rng.choice(("u-1", "u-2", "u-3")),
            "prompt": self.text(),
            "parameters": ({} if model == "auto" else {"model": model})
            | ({"maxTokens": 20} if rng.random() < 0.3 else {}),
            "metadata": metadata,
        }

    def _common(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        hints = self.hints()
        if hints:
            found["octoroute"] = hints
        if self._rng.random() < 0.5:
            found["metadata"] = self.metadata()
        if self._rng.random() < 0.4:
            found[self._rng.choice(("user", "safety_identifier"))] = self._rng.choice(("u-1", "u-2"))
        return found

    # documents

    def _maybe(self, chance: float, values: Sequence[str]) -> str | None:
        return self._rng.choice(values) if self._rng.random() < chance else None

    def _model(self, id_: str) -> Model:
        rng = self._rng
        statuses = (ModelStatus.ACTIVE,) * 5 + tuple(ModelStatus)
        return Model(
            id=id_,
            name=f"Model {id_}",
            provider=Provider.CUSTOM,
            status=rng.choice(statuses),
            tier=rng.choice(TIERS),
            capabilities=tuple(rng.sample(CAPABILITIES, rng.randint(0, 3))),
            priority=rng.choice((1, 1, 2)),
            context_window=rng.choice((None, None, 300, 5000)),
            compliance=("gdpr",) if rng.random() < 0.5 else (),
            input_cost_per_mtok=rng.choice((None, 1.0, 20.0)),
        )

    def _endpoints(self, model: Model) -> Iterator[ModelEndpoint]:
        roles = (EndpointRole.PRIMARY, EndpointRole.BACKUP)
        for number in range(self._rng.choice((0, 1, 1, 2))):
            yield ModelEndpoint(id=f"{model.id}:{number + 1}", model_id=model.id, url=self._url, type=roles[number])

    def _rule(self, number: int) -> RoutingRule:
        rng = self._rng
        targets = tuple(self._target(name) for name in rng.sample(self.names, rng.randint(1, 4)))
        split = None
        if len(targets) > 1 and rng.random() < 0.3:
            canary = float(rng.choice((1, 10, 50, 100)))
            split = TrafficSplit(primary=100.0 - canary, canary=canary)
        return RoutingRule(
            id=f"r-{number}",
            name=f"rule {number}",
            priority=rng.randint(0, 20),
            enabled=rng.random() < 0.9,
            conditions=self._conditions(),
            targets=targets,
            traffic_split=split,
            rule_set="blue" if rng.random() < 0.15 else None,
        )

    def _target(self, name: str) -> RuleTarget:
        rng = self._rng
        return RuleTarget(
            model_id=name,
            weight=rng.choice((None, 0.0, 1.0, 1.0, 2.5)),
            fallback_order=rng.choice((None, 1, 2, 3)),
            max_concurrent_requests=rng.choice((None, None, 5)),
        )

    def _conditions(self) -> Conditions:
        """Two or three of them; each alone holds for a good part of the requests."""
        rng = self._rng
        minutes = [f"{rng.randrange(24):02}:{rng.randrange(60):02}" for _ in range(2)]
        low = rng.randint(0, 60)
        every: dict[str, Any] = {
            "agent_type": tuple(rng.sample((*AGENTS, "nobody"), 3)),
            "workspace_id": tuple(rng.sample(WORKSPACES, 2)),
            "request_type": tuple(rng.sample(tuple(RequestType), 2)),
            "content_length": ContentLength(min=low, max=rng.choice((None, low + 100, low + 2000))),
            "time_of_day": TimeOfDay(start=minutes[0], end=minutes[1], timezone=rng.choice(ZONES)),
            "user_tier": tuple(rng.sample((*USER_TIERS, "bronze"), 2)),
            "custom_conditions": CustomConditions(
                headers={name: self._test(HEADERS[name]) for name in HEADERS if rng.random() < 0.5},
                metadata={name: self._test(METADATA[name]) for name in METADATA if rng.random() < 0.4},
            ),
        }
        return Conditions(
            **{
                name: every[name]
                for name in rng.sample(sorted(every), rng.choice((2, 2, 3, 4)) if rng.random() < 0.99 else 0)
            }
        )

    def _test(self, values: Sequence[Any]) -> Test:
        rng = self._rng
        some = tuple(rng.sample(list(values), 2)) if len(values) > 1 else tuple(values)
        return rng.choice(
            (
                values[0],
                some,
                Matcher(any_of=some),
                Matcher(none_of=some[:1]),
                Matcher(exists=rng.random() < 0.5),
                Matcher(prefix="re"),
            )
        )

    def _preferences(self, agent_type: str) -> AgentPreferences:
        rng = self._rng
        return AgentPreferences(
            agent_type=agent_type,
            preferred_models=tuple(rng.sample(self.names, rng.randint(0, 3))),
            fallback_models=tuple(rng.sample(self.names, rng.randint(0, 2))),
            required_capabilities=tuple(rng.sample(CAPABILITIES, rng.choice((0, 0, 1)))),
            performance_requirements=PerformanceRequirements(
                max_latency=rng.choice((None, 3_600_000.0)),
                min_success_rate=rng.choice((None, 0.5)),
                max_cost_per_token=rng.choice((None, 0.00001)),
            ),
        )

    def _canary(self, number: int, ids: Sequence[str]) -> CanaryDeployment:
        rng = self._rng
        production, canary = rng.sample([*ids, "small", "large"], 2)
        share = float(rng.choice((10, 50, 90)))
        return CanaryDeployment(
            id=f"c-{number}",
            name=f"c-{number}",
            production_model_id=production,
            canary_model_id=canary,
            traffic_split=Split(production=100.0 - share, canary=share),
            status=RolloutStatus.PAUSED,  # its share stands still
        )

    def _experiment(self) -> Experiment:
        rng = self._rng
        arms = [
            Arm(name="usual"),
            Arm(name="tier", tier=rng.choice(tuple(Tier))),
            Arm(name="model", model_id=rng.choice([model.id for model in self.models])),
            Arm(name="set", rule_set="blue"),
        ]
        return Experiment(
            id="e-1",
            name="e-1",
            arms=(arms[0], *rng.sample(arms[1:], 2)),
            conditions=Conditions(agent_type=(rng.choice(AGENTS),)),
            status=ExperimentStatus.RUNNING,
            started_ms=1,
        )
