"""Who gets which arm: sticky, by weight, one experiment at most."""

from collections import Counter

import pytest

from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus
from octoroute_py.core.rules import Conditions, CustomConditions, TimeOfDay
from octoroute_py.core.words import Importance, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.experiments import Assignment, RunningExperiments, arm_of

ARMS = (Arm(name="usual"), Arm(name="deep", tier=Tier.DEEP, weight=3))


CODERS = Conditions(agent_type=("coder",))
AT_NIGHT = Conditions(time_of_day=TimeOfDay(start="22:00", end="06:00"))


def facts(agent_type: str = "", **members: str) -> Facts:
    return Facts(
        tokens=10,
        importance=Importance.NORMAL,
        task_type=TaskType.QUESTION_ANSWER,
        agent_type=agent_type,
        metadata=members,
    )


def experiment(
    id_: str,
    *,
    conditions: Conditions = Conditions(),  # noqa: B008 - a frozen value
    status: ExperimentStatus = ExperimentStatus.RUNNING,
) -> Experiment:
    return Experiment(id=id_, name=id_, arms=ARMS, conditions=conditions, status=status)


def running(*experiments: Experiment) -> RunningExperiments:
    return RunningExperiments(experiments)


def test_a_caller_keeps_its_arm_whatever_it_asks() -> None:
    for caller in (f"caller-{n}" for n in range(300)):
        found = {
            running(experiment("a")).assign(facts(agent), now, caller=caller, request_id=f"{caller}-{now}")
            for agent in ("", "coder")
            for now in (1.0, 1e9)
        }
        assert len(found) == 1


def test_arms_get_callers_by_weight() -> None:
    given = running(experiment("a"))
    found = Counter(
        each.arm.name
        for n in range(10_000)
        if (each := given.assign(facts(), 0, caller=f"caller-{n}", request_id="r")) is not None
    )
    assert found.total() == 10_000
    assert (found["usual"] - 2500) ** 2 / 2500 + (found["deep"] - 7500) ** 2 / 7500 < 15.14  # 1 in 10,000


def test_without_a_caller_each_request_is_drawn() -> None:
    given = running(experiment("a"))
    found = [given.assign(facts(), 0, caller=None, request_id=f"r{n}") for n in range(100)]
    assert {each.arm.name for each in found if each is not None} == {"usual", "deep"}
    assert found == [given.assign(facts(), 0, caller=None, request_id=f"r{n}") for n in range(100)]


def test_the_first_whose_conditions_hold_takes_the_request() -> None:
    given = running(
        experiment("coders", conditions=CODERS), experiment("night", conditions=AT_NIGHT), experiment("all")
    )
    noon, midnight = 12 * 3600.0, 0.0
    assert _id(given.assign(facts("coder"), noon, caller="x", request_id="r")) == "coders"
    assert _id(given.assign(facts("coder"), midnight, caller="x", request_id="r")) == "coders"
    assert _id(given.assign(facts(), midnight, caller="x", request_id="r")) == "night"
    assert _id(given.assign(facts(), noon, caller="x", request_id="r")) == "all"


def test_nobody_takes_part_where_no_conditions_hold() -> None:
    given = running(experiment("coders", conditions=CODERS))
    assert given.assign(facts("writer"), 0, caller="x", request_id="r") is None


def test_what_conditions_look_at_is_told() -> None:
    of_headers = Conditions(custom_conditions=CustomConditions(headers={"X-Beta": "yes"}))
    of_metadata = Conditions(custom_conditions=CustomConditions(metadata={"plan": "gold"}))
    assert running(experiment("a", conditions=of_headers)).reads_headers
    assert not running(experiment("a", conditions=CODERS)).reads_headers
    assert not running(experiment("a", conditions=of_headers, status=ExperimentStatus.PAUSED)).reads_headers
    given = running(experiment("a", conditions=of_metadata))
    assert given.reads_metadata
    assert not running(experiment("a", conditions=CODERS)).reads_metadata
    assert _id(given.assign(facts(plan="gold"), 0, caller="x", request_id="r")) == "a"
    assert given.assign(facts(plan="iron"), 0, caller="x", request_id="r") is None


@pytest.mark.parametrize("status", [each for each in ExperimentStatus if each is not ExperimentStatus.RUNNING])
def test_only_what_runs_takes_part(status: ExperimentStatus) -> None:
    given = running(experiment("a", status=status))
    assert not given
    assert given.assign(facts(), 0, caller="x", request_id="r") is None
    assert running(experiment("a"))


def test_two_experiments_share_callers_out_independently() -> None:
    pairs = Counter(
        tuple(
            each.arm.name
            for id_ in ("a", "b")
            if (each := running(experiment(id_)).assign(facts(), 0, caller=f"caller-{n}", request_id="r")) is not None
        )
        for n in range(4000)
    )
    expected = {
        (x, y): 4000 * p * q for x, p in (("usual", 0.25), ("deep", 0.75)) for y, q in (("usual", 0.25), ("deep", 0.75))
    }
    assert sum((pairs[pair] - want) ** 2 / want for pair, want in expected.items()) < 21.11  # 1 in 10,000


@pytest.mark.parametrize("id_", ["tone", "team:tone", "50%_off"])
def test_what_the_journal_keeps_can_be_read_again(id_: str) -> None:
    label = Assignment(id_, ARMS[1], ARMS).label
    assert arm_of(label, id_) == "deep"
    assert arm_of(f"canary/x:production,{label}", id_) == "deep"


@pytest.mark.parametrize(
    "arms", ["team:tone:deep", "tones:deep", "TONE:deep", "deep:tone", "x:deep,xtone:deep", "canary/tone:canary", ""]
)
def test_labels_of_others_are_told_apart(arms: str) -> None:
    assert arm_of(arms, "tone") is None


def _id(found: Assignment | None) -> str | None:
    return None if found is None else found.experiment_id
