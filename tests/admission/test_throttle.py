from octoroute_py.admission.throttle import WrongKeys


def test_a_source_may_be_wrong_twenty_times_a_minute() -> None:
    wrong = WrongKeys()
    assert [wrong.strike("192.0.2.1", float(second)) for second in range(20)] == [None] * 20
    assert wrong.strike("192.0.2.1", 20.0) == 40.0


def test_the_wait_it_names_is_exactly_enough() -> None:
    wrong = WrongKeys(limit=2, window_s=10.0)
    wrong.strike("192.0.2.1", 0.0)
    wrong.strike("192.0.2.1", 4.0)
    assert wrong.strike("192.0.2.1", 7.5) == 2.5
    assert wrong.strike("192.0.2.1", 9.5) == 0.5
    assert wrong.strike("192.0.2.1", 10.0) is None
    assert wrong.strike("192.0.2.1", 10.0) == 4.0


def test_sources_are_counted_apart() -> None:
    wrong = WrongKeys(limit=1)
    assert wrong.strike("192.0.2.1", 0.0) is None
    assert wrong.strike("192.0.2.2", 0.0) is None
    assert wrong.strike("unix", 0.0) is None
    assert wrong.strike("unix", 0.0) == 60.0


def test_one_ipv6_network_and_a_mapped_address_are_one_source() -> None:
    wrong = WrongKeys(limit=1)
    assert wrong.strike("2001:db8::1", 0.0) is None
    assert wrong.strike("2001:db8::ffff:2", 0.0) == 60.0
    assert wrong.strike("2001:db8:0:1::1", 0.0) is None
    assert wrong.strike("192.0.2.1", 0.0) is None
    assert wrong.strike("::ffff:192.0.2.1", 0.0) == 60.0


def test_memory_is_bounded_and_the_longest_unseen_is_forgotten() -> None:
    wrong = WrongKeys(limit=1, max_sources=3)
    for number in range(1, 4):
        wrong.strike(f"192.0.2.{number}", 0.0)
    assert wrong.strike("192.0.2.1", 1.0) == 59.0
    wrong.strike("192.0.2.4", 1.0)
    assert len(wrong) == 3
    assert wrong.strike("192.0.2.1", 2.0) == 58.0
    assert wrong.strike("192.0.2.2", 2.0) is None


def test_ten_thousand_sources_are_the_most_it_keeps() -> None:
    wrong = WrongKeys()
    for number in range(10_500):
        wrong.strike(f"10.1.{number // 250}.{number % 250}", 0.0)
    assert len(wrong) == 10_000
