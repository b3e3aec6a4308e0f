"""`gen_ai_*`: the metrics of OpenTelemetry's GenAI conventions, by their Prometheus names and buckets."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from octoroute_py.core.usage import Usage
from octoroute_py.telemetry.families import histogram
from octoroute_py.telemetry.labels import OTHER
from octoroute_py.telemetry.samples import Histogram
from octoroute_py.telemetry.semconv import CHAT, EMBEDDINGS, TEXT_COMPLETION
from octoroute_py.telemetry.served import Served, first_models

SERVER = "octoroute"
"""Whose time to the first token is measured: the gateway's, as the server of its clients."""

_DURATION_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4.0**power for power in range(14))
_FIRST_TOKEN_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class _Row:
    """The operations of one kind on one model."""

    __slots__ = ("completion", "duration_s", "operation", "prompt", "provider")

    def __init__(self, operation: str, provider: str) -> None:
        self.operation = operation
        self.provider = provider
        self.duration_s = Histogram(_DURATION_S)
        self.prompt = Histogram(_TOKENS)
        self.completion = Histogram(_TOKENS)


class GenAiCounts:
    """Each attempt is an operation of ours as a client; tokens are those of the answer that counts.

    A model has labels for the operation it is there for; other operations on it count for the model `other`.
    """

    __slots__ = ("_first_token_s", "_models", "_other", "_rows")

    def __init__(self) -> None:
        self._models: dict[str, _Row] = {}
        self._rows: dict[str, _Row] = {}
        self._other = {operation: _Row(operation, OTHER) for operation in (CHAT, TEXT_COMPLETION, EMBEDDINGS)}
        self._first_token_s = {operation: Histogram(_FIRST_TOKEN_S) for operation in (CHAT, TEXT_COMPLETION)}

    def bind(self, endpoints: Sequence[Served], *, most: int) -> None:
        """Take these endpoints as the known ones, and the first so many of their models for labels."""
        named = first_models(endpoints, most)
        self._models = {
            name: self._models.get(name) or _Row(each.operation, each.vendor) for name, each in named.items()
        }
        self._rows = {e.endpoint_id: self._models[e.model] for e in endpoints if e.model in self._models}

    def attempted(self, endpoint_id: str, operation: str, seconds: float) -> None:
        """An attempt took so long."""
        self._row(endpoint_id, operation).duration_s.observe(seconds)

    def used(self, endpoint_id: str, operation: str, usage: Usage) -> None:
        """An answer took so many tokens."""
        row = self._row(endpoint_id, operation)
        row.prompt.observe(usage.prompt)
        row.completion.observe(usage.completion)

    def first_token(self, operation: str, seconds: float) -> None:
        """The first event of a stream left for the client, so long after the request came."""
        samples = self._first_token_s.get(operation)
        if samples is not None:
            samples.observe(seconds)

    def _row(self, endpoint_id: str, operation: str) -> _Row:
        row = self._rows.get(endpoint_id)
        return row if row is not None and row.operation == operation else self._other[operation]

    def collect(self) -> Iterator[Metric]:
        """The families, in an order that never changes."""
        rows = list(self._models.items())
        rows += [(OTHER, row) for row in self._other.values() if row.duration_s.touched or row.prompt.touched]
        labels = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
        yield histogram(
            "gen_ai_client_operation_duration_seconds",
            "Time of an attempt at a model",
            labels,
            (((row.operation, row.provider, model), row.duration_s) for model, row in rows),
        )
        yield histogram(
            "gen_ai_client_token_usage",
            "Tokens of an answer",
            (*labels, "gen_ai_token_type"),
            (
                ((row.operation, row.provider, model, kind), samples)
                for model, row in rows
                for kind, samples in (("input", row.prompt), ("output", row.completion))
            ),
        )
        yield histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a request's arrival to the first event of its stream",
            ("gen_ai_operation_name", "gen_ai_provider_name"),
            (
                ((operation, SERVER), samples)
                for operation, samples in self._first_token_s.items()
                if operation == CHAT or samples.touched
            ),
        )
