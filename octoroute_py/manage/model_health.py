"""How models are: what was reported of them, a score from it, and what the gateway itself measured.

A report is advice. It changes no status and nothing of where requests go, so it is no change of the registry.
"""

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from octoroute_py.config.schema import Config
from octoroute_py.core.catalog import HealthReport, HealthStatus
from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.following import Following
from octoroute_py.manage.model_view import file_models
from octoroute_py.storage import registry
from octoroute_py.storage.db import Database
from octoroute_py.storage.directory import decoded
from octoroute_py.storage.registry import Document
from octoroute_py.storage.transaction import Transaction
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.recent import BUCKET_S, BUCKETS, FEWEST, Totals, milliseconds

HEALTHY_FROM: Final = 80.0
DEGRADED_FROM: Final = 60.0
FOLLOW_EVERY_S: Final = 5.0
"""What another process was told of is in the metrics here so much later."""


class Rating(enum.StrEnum):
    """The score in a word: healthy from 80, degraded from 60."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class Measured(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of the gateway's own attempts in the last `window_seconds`, over all endpoints of the model.

    `success_rate` is 0 to 1; it and the means are null while there were fewer than ten.
    """

    window_seconds: float = BUCKET_S * BUCKETS
    requests: int
    success_rate: float | None
    average_latency_ms: float | None
    average_first_event_ms: float | None


class HealthView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a model is: as reported, with the score (0 to 100) and its rating, and as measured.

    Null is what nobody reported; `last_checked` is when the last report came.
    """

    model_id: str
    status: HealthStatus
    response_time: float | None
    error_rate: float | None
    availability: float | None
    uptime: float | None
    health_score: float | None
    rating: Rating
    last_checked: str | None
    measured: Measured


def score(report: HealthReport) -> float | None:
    """The mean of what was reported, by weight: uptime and availability .3 each, response time and errors .2 each.

    None when none of it was.
    """
    response_ms, errors = report.response_time, report.error_rate
    parts = [
        (0.3, report.uptime),
        (0.3, report.availability),
        (0.2, None if response_ms is None else max(0.0, 100 - response_ms / 10)),
        (0.2, None if errors is None else max(0.0, 100 - 100 * errors)),
    ]
    known = [(weight, value) for weight, value in parts if value is not None]
    if not known:
        return None
    return round(sum(weight * value for weight, value in known) / sum(weight for weight, _ in known), 2)


def rating(points: float | None) -> Rating:
    """The score in a word."""
    if points is None:
        return Rating.UNKNOWN
    if points >= HEALTHY_FROM:
        return Rating.HEALTHY
    return Rating.DEGRADED if points >= DEGRADED_FROM else Rating.UNHEALTHY


def measured(endpoints: Iterable[Endpoint], now: float) -> Measured:
    """What these endpoints did lately; `now` is monotonic."""
    totals = sum((endpoint.live.recent.totals(now) for endpoint in endpoints), start=Totals())
    requests = totals.good + totals.bad
    return Measured(
        requests=requests,
        success_rate=totals.good / requests if requests >= FEWEST else None,
        average_latency_ms=_mean_ms(totals.answers_s, totals.answers),
        average_first_event_ms=_mean_ms(totals.first_events_s, totals.first_events),
    )


def health_view(model_id: str, document: Document | None, lately: Measured) -> HealthView:
    """How the model is."""
    report = HealthReport() if document is None else document.read(HealthReport)
    points = score(report)
    return HealthView(
        model_id=model_id,
        status=report.status or HealthStatus.UNKNOWN,
        response_time=report.response_time,
        error_rate=report.error_rate,
        availability=report.availability,
        uptime=report.uptime,
        health_score=points,
        rating=rating(points),
        last_checked=None if document is None else iso(document.updated_ms),
        measured=lately,
    )


class Scores(msgspec.Struct, frozen=True):
    """The scores of all models that have one, by id; `seen` tells this state of the reports from others."""

    seen: tuple[int, int, int]
    points: Mapping[str, float]


NO_SCORES: Final = Scores((0, 0, 0), {})


def follow_health(database: Database | None) -> Following[Scores]:
    """The scores, for the metrics. Raises StorageError."""
    return Following(database, NO_SCORES, read=_newer, take_over=lambda _: None, what="health of models")


def _newer(connection: Transaction, known: Scores) -> Scores | None:
    seen = registry.noted(connection, Kind.HEALTH)
    if seen == known.seen:
        return None
    points: dict[str, float] = {}
    for document in registry.every(connection, Kind.HEALTH):
        report = decoded(connection, HealthReport, document.body, of=f"the health of model {document.id!r}")
        value = score(report)
        if value is not None:
            points[document.id] = value
    return Scores(seen, points)


def known_scores(scores: Scores, models: Collection[str]) -> list[tuple[str, float]]:
    """The scores of models that there are."""
    return [(model, points) for model, points in scores.points.items() if model in models]


class Health:
    """The reports of all models, those of the file included; `file` is the configuration without what is registered.

    Everything raises Refused 503 without a database that can be used, and NotFound for a model there is none of.
    """

    def __init__(self, documents: Documents, *, file: Callable[[], Config]) -> None:
        self._documents = documents
        self._file = file

    async def report(self, model_id: str, report: HealthReport) -> Document:
        """Take in a report; what it does not tell stays as it was. Raises BadRequest for one that tells nothing."""
        told = {name: value for name, value in msgspec.structs.asdict(report).items() if value is not None}
        if not told:
            names = ", ".join(field.encode_name for field in msgspec.structs.fields(HealthReport))
            raise BadRequest(f"A report has at least one of: {names}.")

        def take(desk: Desk) -> Document:
            self._refuse_unknown(desk, model_id)
            known = desk.get(Kind.HEALTH, model_id)
            before = HealthReport() if known is None else known.read(HealthReport)
            return desk.note(Kind.HEALTH, model_id, msgspec.structs.replace(before, **told))

        return await self._documents.change(take, by="")

    async def get(self, model_id: str) -> Document | None:
        """What was reported of a model, if anything was."""

        def look(desk: Desk) -> Document | None:
            self._refuse_unknown(desk, model_id)
            return desk.get(Kind.HEALTH, model_id)

        return await self._documents.look(look)

    def _refuse_unknown(self, desk: Desk, model_id: str) -> None:
        if model_id not in file_models(self._file()):
            desk.needed(Kind.MODEL, model_id)


def _mean_ms(total_s: float, count: int) -> float | None:
    return milliseconds(total_s / count) if count >= FEWEST else None
