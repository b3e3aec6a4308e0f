"""A share that is cut stays cut, whatever the registry still says."""

from octoroute_py.routing.shares import Shares


def test_a_deployment_that_does_not_run_has_no_share() -> None:
    assert Shares().of("d") == 0.0


def test_a_cut_outlives_what_the_registry_still_says() -> None:
    shares = Shares()
    shares.put("d", 40.0)
    shares.cut("d")
    assert shares.of("d") == 0.0
    shares.put("d", 50.0)
    shares.keep_only(["d"])
    assert shares.of("d") == 0.0


def test_what_has_ended_is_forgotten_with_its_cut() -> None:
    shares = Shares()
    shares.put("other", 5.0)
    shares.cut("d")
    shares.keep_only(["other"])
    assert (shares.of("other"), shares.of("d")) == (5.0, 0.0)
    shares.put("d", 10.0)
    assert shares.of("d") == 10.0
