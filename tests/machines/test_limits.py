"""The limiter against plain logs of everything it let in, under any order of requests, ends, corrections and waits."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octoroute_py.admission.claims import Claim, Subject
from octoroute_py.admission.limits import Limited, Limiter, Measure, Permit
from octoroute_py.core.allowance import Rates

MAX_STATES = 6
LONGEST = 601 / 600
"""An entry may count for a bucket longer than its window."""
RATES = {
    Subject.KEY: (
        Rates(requests_per_window=5, tokens_per_minute=100, max_concurrent=3),
        Rates(requests_per_window=3, tokens_per_minute=60, max_concurrent=2),
    ),
    Subject.WORKSPACE: (Rates(tokens_per_minute=150),),
    Subject.IP: (Rates(requests_per_window=2, requests_window_s=10.0),),
}
IDS = {Subject.KEY: ("a", "b"), Subject.WORKSPACE: ("w",), Subject.IP: tuple(map(str, range(12)))}


class Admitted:
    """A request that was let in; `tokens` are what it came to so far, `requests` 0 once it was given back."""

    def __init__(self, permit: Permit, claims: list[Claim], *, at: float, tokens: int) -> None:
        self.permit = permit
        self.claims = claims
        self.at = at
        self.tokens = tokens
        self.requests = 1
        self.running = True
        self.settled = False


@st.composite
def claims_of_a_request(draw: st.DrawFn) -> list[Claim]:
    subjects = draw(st.lists(st.sampled_from(list(RATES)), unique=True, max_size=3))
    return [Claim(one, draw(st.sampled_from(IDS[one])), draw(st.sampled_from(RATES[one]))) for one in subjects]


class LimiterMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.limiter = Limiter(max_states=MAX_STATES)
        self.log: list[Admitted] = []

    # What the model says

    def used(self, claim: Claim, measure: Measure, *, stretch: float = 1.0) -> int:
        width_s = stretch * (claim.rates.requests_window_s if measure is Measure.REQUESTS else 60.0)
        return sum(
            one.requests if measure is Measure.REQUESTS else one.tokens
            for one in self.of(claim)
            if self.now - one.at < width_s
        )

    def of(self, claim: Claim) -> list[Admitted]:
        return [
            one for one in self.log if any(mine.subject is claim.subject and mine.id == claim.id for mine in one.claims)
        ]

    def running(self, claim: Claim) -> int:
        return sum(one.running for one in self.of(claim))

    def fits(self, claim: Claim, tokens: int, *, stretch: float) -> bool:
        rates = claim.rates
        return (
            (rates.max_concurrent is None or self.running(claim) < rates.max_concurrent)
            and (
                rates.requests_per_window is None
                or self.used(claim, Measure.REQUESTS, stretch=stretch) < rates.requests_per_window
            )
            and (
                rates.tokens_per_minute is None
                or self.used(claim, Measure.TOKENS, stretch=stretch) + tokens <= rates.tokens_per_minute
            )
        )

    def counting_addresses(self) -> set[str]:
        claims = [claim for one in self.log for claim in one.claims if claim.subject is Subject.IP]
        return {
            claim.id
            for claim in claims
            if self.running(claim) or self.used(claim, Measure.REQUESTS, stretch=LONGEST)
        }  # fmt: skip

    # What happens

    @rule(seconds=st.sampled_from([0.0, 1 / 64, 0.0625, 0.5, 3.0, 9.984375, 10.0, 30.0, 60.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(claims=claims_of_a_request(), tokens=st.sampled_from([1, 10, 40, 60, 100, 151]))
    def request(self, claims: list[Claim], tokens: int) -> None:
        try:
            permit = self.limiter.admit(claims, tokens=tokens, now=self.now)
        except Limited as limited:
            self.check_refusal(limited, claims, tokens)
            return
        assert all(self.fits(claim, tokens, stretch=1.0) for claim in claims)
        self.log.append(Admitted(permit, claims, at=self.now, tokens=tokens))

    def check_refusal(self, limited: Limited, claims: list[Claim], tokens: int) -> None:
        stranger = [one for one in claims if one.subject is Subject.IP and one.id not in self.counting_addresses()]
        if limited.client_message.startswith("Too many clients"):
            assert stranger
            assert len(self.counting_addresses()) >= MAX_STATES
            return
        (claim,) = (claim for claim in claims if claim.subject is limited.subject)
        assert not self.fits(claim, tokens, stretch=LONGEST)
        if limited.retry_after_s is None:
            assert tokens > (claim.rates.tokens_per_minute or 0)
        else:
            assert limited.retry_after_s > 0

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.log))
        one.permit.release()
        one.running = False

    @precondition(lambda self: self.log)
    @rule(data=st.data(), tokens=st.sampled_from([0, 5, 50, 200]))
    def settle(self, data: st.DataObject, tokens: int) -> None:
        one = data.draw(st.sampled_from(self.log))
        one.permit.settle(tokens, self.now)
        if not one.settled:
            one.tokens, one.settled = tokens, True

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.log))
        one.permit.refund(self.now)
        if not one.settled:
            one.tokens, one.requests, one.settled = 0, 0, True

    # What holds at any time

    @invariant()
    def what_it_says_is_left_is_true(self) -> None:
        for one in self.log[-3:]:
            standing = one.permit.standing(self.now)
            if standing is None:
                assert not one.claims
            elif one.running:
                left = {(limit, remaining) for claim in one.claims for limit, remaining in self.possible(claim)}
                assert (standing.limit, standing.remaining) in left
                assert (standing.remaining == standing.limit) == (standing.reset_s == 0.0)

    def possible(self, claim: Claim) -> set[tuple[int, int]]:
        """The limits an id may have, each with everything that may be left of it."""
        found: set[tuple[int, int]] = set()
        for rates in RATES[claim.subject]:
            for measure, limit in (
                (Measure.REQUESTS, rates.requests_per_window),
                (Measure.TOKENS, rates.tokens_per_minute),
            ):
                if limit is not None:
                    used = {self.used(claim, measure), self.used(claim, measure, stretch=LONGEST)}
                    found.update((limit, max(0, limit - some)) for some in range(min(used), max(used) + 1))
        return found

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.limiter) <= 2 + 1 + MAX_STATES

    def teardown(self) -> None:
        """Never stuck: when all have ended and a minute has passed, everybody may go on."""
        for one in self.log:
            one.permit.release()
        self.now += 61.0
        for subject, rates in RATES.items():
            for name in IDS[subject][:2]:
                self.limiter.admit((Claim(subject, name, rates[-1]),), tokens=60, now=self.now)


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
