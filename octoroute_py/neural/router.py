"""The Tiny Dancer router: candidates in, how far the light model can be trusted with each of them out.

router = Router(RouterConfig())
response = router.route(RoutingRequest(query_embedding=query, candidates=candidates))
if response.decisions[0].use_lightweight: ...
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from octoroute_py.core import clock
from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.core.words import BreakerState
from octoroute_py.neural.body import RoutingDecision, RoutingResponse
from octoroute_py.neural.breaker import Breaker
from octoroute_py.neural.candidate import Candidate, RouterConfig, RoutingRequest
from octoroute_py.neural.candidate_file import load_net, shipped
from octoroute_py.neural.candidate_net import CONTEXT, HeldOut, quantise
from octoroute_py.neural.certainty import uncertainties
from octoroute_py.neural.checks import created_s, embeddings, vector
from octoroute_py.neural.errors import CircuitOpen, InferenceFailed, InvalidInput, StorageProblem
from octoroute_py.neural.signals import cosines, frequency, overlap, recency, weighted

if TYPE_CHECKING:
    from octoroute_py.neural.store import Storage

F64 = NDArray[np.float64]

NEAREST = CONTEXT
"""How many stored candidates stand for a request that brings none: as long as the longest sets learned from."""
NOTE_WAIT_S = 1.0
"""How long a decision waits for another process's lock, to be noted."""

_log = structlog.stdlib.get_logger("octoroute.neural")


class Net(Protocol):
    """A network that is ready to run."""

    def confidences(self, signals: F64) -> NDArray[np.float32]:
        """The probability (T,) that the light model does well with each candidate, from weighted signals (T, 5)."""
        ...


class _Model(NamedTuple):
    runner: Net
    held_out: HeldOut
    version: str


class Router:
    """Routes by one loaded model; safe to use from several threads.

    `compiled` runs the network as machine code: making that ready takes seconds, the first time on a machine, and then
    a hundredth of the time; without it numpy computes the same.
    Raises ModelNotFound or ModelRefused for a model file that cannot be used, StorageProblem for a database.
    """

    def __init__(
        self,
        config: RouterConfig | None = None,
        *,
        compiled: bool = True,
        monotonic: Monotonic = clock.monotonic,
        wall: Wall = clock.wall,
    ) -> None:
        self.config = config or RouterConfig()
        self._compiled = compiled
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.Lock()
        self._breaker = Breaker(self.config.circuit_breaker_threshold) if self.config.enable_circuit_breaker else None
        self._model = self._load()
        self.storage = self._open_storage()

    def close(self) -> None:
        """Let go of the database, if there is one."""
        if self.storage is not None:
            self.storage.close()

    def reload_model(self) -> None:
        """Use the model file as it is now; when that cannot be used, raise why and go on with the old one."""
        self._model = self._load()

    @property
    def model_version(self) -> str:
        """The first 12 digits of the SHA-256 of the model file in use."""
        return self._model.version

    @property
    def circuit_state(self) -> BreakerState | None:
        """The state of the circuit breaker now, None when it is off."""
        with self._lock:
            return None if self._breaker is None else self._breaker.state(self._monotonic())

    def circuit_breaker_status(self) -> bool | None:
        """Whether the circuit is closed, None when the breaker is off; asking changes nothing."""
        state = self.circuit_state
        return None if state is None else state is BreakerState.CLOSED

    def route(self, request: RoutingRequest) -> RoutingResponse:
        """Decide on every candidate, most confident first.

        Without candidates those of the database nearest to the query are taken. With a database the leading decision
        is noted there, and unknown candidates are kept. Raises InvalidInput, CircuitOpen, InferenceFailed, and
        StorageProblem when stored candidates cannot be read.
        """
        began = self._monotonic()
        _check_top_k(request.top_k)
        query = vector(request.query_embedding, "queryEmbedding")
        candidates = request.candidates or self._nearest(query)
        rows = embeddings(candidates, len(query))
        similarity = cosines(query, rows)
        order = sorted(range(len(candidates)), key=lambda at: (-similarity[at], candidates[at].id))
        candidates = [candidates[at] for at in order]
        signals = weighted(self._signals(similarity[order], candidates, request))
        feature_s = self._monotonic() - began
        model = self._model
        confidences = self._infer(model.runner, signals) if candidates else np.empty(0)
        unsure = uncertainties(confidences, model.held_out, level=self.config.max_uncertainty)
        decisions = self._decisions(candidates, confidences, unsure)[: request.top_k]
        response = RoutingResponse(
            decisions=decisions,
            inference_time_us=round((self._monotonic() - began) * 1e6),
            candidates_processed=len(candidates),
            feature_time_us=round(feature_s * 1e6),
        )
        return self._noted(request, response)

    def _open_storage(self) -> "Storage | None":
        path = self.config.database_path
        if path is None:
            return None
        # whoever keeps nothing does not load what keeps it
        from octoroute_py.neural.store import Storage

        return Storage(path, wall=self._wall, busy_wait_s=NOTE_WAIT_S)

    def _load(self) -> "_Model":
        path = self.config.model_path
        loaded = load_net(shipped() if path is None else Path(path))
        net = quantise(loaded.net) if self.config.enable_quantization else loaded.net
        if not self._compiled:
            return _Model(net.runner(), net.held_out, loaded.version)
        # whoever does not want it compiled does not load the compiler
        from octoroute_py.neural.candidate_kernel import CompiledRunner

        return _Model(CompiledRunner(net), net.held_out, loaded.version)

    def _nearest(self, query: NDArray[np.float32]) -> Sequence[Candidate]:
        if self.storage is None:
            raise InvalidInput("candidates must not be empty where there is no database", field="candidates")
        return [match.candidate for match in self.storage.search(query, NEAREST)]

    def _signals(self, similarity: F64, candidates: Sequence[Candidate], request: RoutingRequest) -> F64:
        """The five signals (N, 5), unweighted, in the order of the candidates."""
        now = self._wall()
        ages = np.array([now - created_s(each.created_at, now) for each in candidates])
        counts = np.array([float(each.access_count) for each in candidates])
        rates = np.array([float(each.success_rate) for each in candidates])
        shared = np.array([overlap(request.metadata, each.metadata) for each in candidates])
        return np.stack([similarity, recency(ages), frequency(counts), rates, shared], axis=1)

    def _infer(self, runner: Net, signals: F64) -> NDArray[np.floating]:
        """The confidences (N,); what happens is told to the breaker."""
        breaker = self._breaker
        if breaker is not None:
            with self._lock:
                now = self._monotonic()
                if not breaker.begin(now):
                    wait_s = breaker.wait_s(now)
                    raise CircuitOpen(f"the network failed too often, try in {wait_s:.0f} s", retry_in_s=wait_s)
        good = False
        try:
            with np.errstate(all="ignore"):
                confidences = runner.confidences(signals)
            good = bool(np.all((confidences >= 0) & (confidences <= 1)))
        finally:
            if breaker is not None:
                with self._lock:
                    if good:
                        breaker.success()
                    else:
                        breaker.failure(self._monotonic())
        if not good:
            raise InferenceFailed("the network gave something that is no probability")
        return confidences

    def _decisions(
        self, candidates: Sequence[Candidate], confidences: NDArray[np.floating], unsure: F64
    ) -> tuple[RoutingDecision, ...]:
        """Most confident first; equals stay in the order of their similarity."""
        least, most = self.config.confidence_threshold, self.config.max_uncertainty
        order = np.argsort(-confidences, kind="stable")
        found = ((candidates[at].id, float(confidences[at]), float(unsure[at])) for at in order)
        return tuple(
            RoutingDecision(
                candidate_id=id,
                confidence=confidence,
                use_lightweight=confidence >= least and uncertainty <= most,
                uncertainty=uncertainty,
            )
            for id, confidence, uncertainty in found
        )

    def _noted(self, request: RoutingRequest, response: RoutingResponse) -> RoutingResponse:
        """The response with the number of its row; a decision stands even where it could not be noted."""
        if self.storage is None or not response.decisions:
            return response
        leading = response.decisions[0]
        try:
            routing_id = self.storage.record_routing(
                leading.candidate_id,
                confidence=leading.confidence,
                use_lightweight=leading.use_lightweight,
                uncertainty=leading.uncertainty,
                inference_time_us=response.inference_time_us,
                new=request.candidates,
            )
        except StorageProblem as problem:
            _log.warning("routing not noted", problem=str(problem))
            return response
        return msgspec.structs.replace(response, routing_id=routing_id)


def _check_top_k(top_k: int | None) -> None:
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise InvalidInput("topK must be a whole number from 1 on", field="topK")
