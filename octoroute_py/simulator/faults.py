"""The ways a simulated model can fail on purpose."""

import enum
import random

import msgspec


class Fault(enum.StrEnum):
    """What goes wrong. Those named after streams do the like to a buffered answer."""

    STATUS_500 = "status_500"
    STATUS_503 = "status_503"
    STATUS_429 = "status_429"
    STATUS_401 = "status_401"
    STATUS_302 = "status_302"
    BAD_JSON = "bad_json"
    HANG = "hang"
    RESET = "reset"
    CUT_BEFORE_FIRST_EVENT = "cut_before_first_event"
    CUT_MID_STREAM = "cut_mid_stream"
    STALL = "stall"
    SLOW = "slow"


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which fault, for what share of requests (0-1), and how many times at most (None: no end)."""

    fault: Fault | None = None
    rate: float = 1.0
    count: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise ValueError("rate must be between 0 and 1")
        if self.count is not None and self.count < 0:
            raise ValueError("count must not be negative")


class FaultDice:
    """Decides request by request whether the plan's fault happens; the same seed gives the same sequence."""

    def __init__(self, plan: FaultPlan, *, seed: int = 0) -> None:
        self.plan = plan
        self._random = random.Random(seed)

    def draw(self) -> Fault | None:
        """The fault of the next request, or None."""
        plan = self.plan
        if plan.fault is None or plan.count == 0 or self._random.random() >= plan.rate:
            return None
        if plan.count is not None:
            self.plan = msgspec.structs.replace(plan, count=plan.count - 1)
        return plan.fault
