import pytest

from octoroute_py.telemetry.scrub import Scrubber


def test_known_secrets_are_masked_wherever_they_stand() -> None:
    scrubber = Scrubber(["correct-horse", "correct-horse-battery", "with/slash+plus"])
    assert scrubber.clean("a correct-horse-battery,correct-horse.") == "a ***,***."
    assert scrubber.clean("?key=with%2Fslash%2Bplus&x") == "?key=***&x"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: ***"),
        ("'bearer   abcdefgh'", "'***'"),
        ("okr-abcdefghij234567", "***"),
        ("key=sk-proj-AbC_123456789 next", "key=*** next"),
        ("redis://user:passw0rd@cache:6379/0", "redis://***@cache:6379/0"),
        ("task-12345678 and disk-usage-high are words", "task-12345678 and disk-usage-high are words"),
        ("the bearer of bad news", "the bearer of bad news"),
    ],
)
def test_what_looks_like_a_key_is_masked(text: str, clean: str) -> None:
    assert Scrubber().clean(text) == clean


def test_short_placeholders_do_not_blank_the_log() -> None:
    assert Scrubber(["", "ollama"]).clean("fast/ollama") == "fast/ollama"


def test_a_reload_brings_other_secrets() -> None:
    scrubber = Scrubber(["first-secret"])
    scrubber.learn(["second-secret"])
    assert scrubber.clean("first-secret second-secret") == "first-secret ***"
