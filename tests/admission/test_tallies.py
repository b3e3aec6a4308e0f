from octoroute_py.admission.tallies import Account, Tally, codes_at

DAY = 86400.0
NOON = 20_000 * DAY + DAY / 2


def test_days_weeks_and_months_have_codes_of_their_own() -> None:
    codes = [codes_at(NOON + number * DAY) for number in range(400)]
    assert len({day for day, _, _ in codes}) == 400
    assert len({week for _, week, _ in codes}) in (57, 58)
    assert len({month for _, _, month in codes}) == 14
    assert len({code for row in codes for code in row}) == sum(len(set(column)) for column in zip(*codes, strict=True))


def test_a_day_later_the_week_and_the_month_go_on() -> None:
    account = Account()
    day, week, month = account.at(codes_at(NOON))
    assert account.at(codes_at(NOON + 60.0)) == (day, week, month)
    next_day, same_week, same_month = account.at(codes_at(NOON + DAY))
    assert next_day is not day
    assert (same_week, same_month) == (week, month)
    assert account.last_day == 20_001


def test_periods_that_are_over_are_found_again() -> None:
    account = Account()
    before = account.at(codes_at(NOON))
    account.at(codes_at(NOON + 40 * DAY))
    assert account.at(codes_at(NOON)) == before
    assert account.look(codes_at(NOON)) == before
    assert account.look(codes_at(NOON + 300 * DAY)) == (None, None, None)


def test_it_keeps_the_periods_of_a_quarter_and_not_more() -> None:
    account = Account()
    for number in range(500):
        account.at(codes_at(NOON + number * DAY))
    kept = [number for number in range(500) if account.look(codes_at(NOON + number * DAY))[0] is not None]
    assert kept == list(range(kept[0], 500))
    assert 95 <= len(kept) <= 128


def test_a_period_that_is_used_is_kept_however_many_others_come() -> None:
    account = Account()
    today = account.at(codes_at(NOON))
    for number in range(200):
        account.at(codes_at(NOON + number * DAY))
        assert account.at(codes_at(NOON)) == today


def test_a_level_is_told_once_and_anew_for_another_limit() -> None:
    tally = Tally()
    assert tally.to_tell(0) == []
    tally.spent = 79
    assert tally.to_tell(100) == []
    tally.spent = 80
    assert tally.to_tell(100) == [80]
    tally.told(100, 80)
    assert tally.to_tell(100) == []
    tally.spent = 250
    assert tally.to_tell(100) == [100]
    tally.told(100, 100)
    tally.told(100, 80)
    assert tally.to_tell(100) == []
    assert tally.to_tell(200) == [80, 100]
