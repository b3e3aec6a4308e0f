"""A simulated model behind a real OpenAI-compatible HTTP server."""

import asyncio
import hmac

import msgspec

from octoroute_py.core import clock
from octoroute_py.core.errors import BadRequest, Denied, GatewayError, NotFound
from octoroute_py.simulator.bodies import JsonObject, decode
from octoroute_py.simulator.faults import Fault, FaultDice, FaultPlan
from octoroute_py.simulator.model import SimulatedModel
from octoroute_py.simulator.operations import OPERATIONS, Operation
from octoroute_py.simulator.playback import pace_of, play
from octoroute_py.simulator.wire import Connection, Request


class Simulator:
    """A running server; made by `serve`.

    `control` allows `POST /control` with `{"fault", "rate", "count"}` and model names such as `sim-fast:hang`, which
    fail in that way each time. `speed` divides all waiting times.
    """

    def __init__(
        self,
        model: SimulatedModel,
        *,
        api_key: str | None = None,
        speed: float = 1.0,
        control: bool = False,
        plan: FaultPlan | None = None,
        wall: clock.Wall = clock.wall,
    ) -> None:
        if speed <= 0:
            raise ValueError("speed must be above 0")
        self.model = model
        self.host = ""
        self.port = 0
        self.requests = 0
        self._api_key = api_key
        self._speed = speed
        self._control = control
        self._dice = FaultDice(plan or FaultPlan())
        self._wall = wall
        self._live: set[Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._live)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises OSError if the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._handle, self._live), host, port)
        self.host, self.port = host, self._server.sockets[0].getsockname()[1]

    async def aclose(self, *, grace_s: float = 0.0) -> None:
        """Stop listening, give running answers `grace_s` seconds to end, and close everything."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        workers = [connection.retire() for connection in list(self._live)]
        if workers:
            await asyncio.wait(workers, timeout=grace_s)
        for connection in list(self._live):
            connection.abort()
        await asyncio.gather(*workers, return_exceptions=True)

    async def __aenter__(self) -> "Simulator":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _handle(self, request: Request, wire: Connection) -> None:
        try:
            if request.refusal is not None:
                raise request.refusal
            self._authorize(request)
            await self._route(request, wire)
        except GatewayError as error:
            wait = () if error.retry_after_s is None else (("retry-after", str(int(error.retry_after_s))),)
            await wire.send(error.status, error.body(), headers=wait)

    def _authorize(self, request: Request) -> None:
        if self._api_key is None or request.path == "/health":
            return
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._api_key}".encode()):
            raise Denied("The API key is missing or wrong.", code="invalid_api_key")

    async def _route(self, request: Request, wire: Connection) -> None:
        operation = OPERATIONS.get(request.path)
        if operation is not None:
            _need(request, "POST")
            await self._operate(operation, request, wire)
        elif request.path == "/control" and self._control:
            await wire.send(200, self._faults(request))
        elif request.path == "/health":
            await wire.send(200, b'{"status":"ok"}')
        elif request.path == "/v1/models":
            _need(request, "GET")
            await wire.send(200, msgspec.json.encode({"object": "list", "data": [self._entry()]}))
        elif request.path.startswith("/v1/models/"):
            _need(request, "GET")
            self._check_name(request.path.removeprefix("/v1/models/"))
            await wire.send(200, msgspec.json.encode(self._entry()))
        else:
            raise NotFound("There is no such path here.", code="not_found")

    async def _operate(self, operation: Operation, request: Request, wire: Connection) -> None:
        prepared = operation(request.body, self.model, int(self._wall()))
        asked_fault = self._check_name(prepared.asked)
        self.requests += 1
        fault = asked_fault or self._dice.draw()
        pace = pace_of(self.model, speed=self._speed)
        await play(prepared.answer, wire, pace, stream=prepared.stream, fault=fault)

    def _check_name(self, asked: str) -> Fault | None:
        name, _, fault = asked.partition(":")
        if asked == self.model.name:
            return None
        if self._control and name == self.model.name and fault in list(Fault):
            return Fault(fault)
        raise NotFound(f"Only the model {self.model.name} is here.", code="model_not_found", param="model")

    def _faults(self, request: Request) -> bytes:
        if request.method == "POST":
            self._dice.plan = decode(request.body, FaultPlan)
        else:
            _need(request, "GET")
        return msgspec.json.encode({**msgspec.to_builtins(self._dice.plan), "requests": self.requests})

    def _entry(self) -> JsonObject:
        return {"id": self.model.name, "object": "model", "created": 0, "owned_by": "octoroute-simulator"}


async def serve(
    model: SimulatedModel,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    api_key: str | None = None,
    speed: float = 1.0,
    control: bool = False,
    plan: FaultPlan | None = None,
) -> Simulator:
    """A simulator that listens; close it with `aclose` or use it as a context. Raises OSError if it cannot listen."""
    simulator = Simulator(model, api_key=api_key, speed=speed, control=control, plan=plan)
    await simulator.start(host, port)
    return simulator


def _need(request: Request, method: str) -> None:
    if request.method != method:
        raise BadRequest(f"This path takes {method} only.", code="method_not_allowed", status=405)
