"""What is open is told in clear words, and nothing is said of what is not."""

from octoroute_py.config.exposed import exposed
from octoroute_py.config.load import parse_config
from tests.fakes.configs import MINIMAL


def test_a_usual_configuration_has_nothing_to_tell() -> None:
    assert exposed(parse_config(MINIMAL)) == ()


def test_content_in_the_log_is_told() -> None:
    config = parse_config(MINIMAL + "[observability]\ncapture_content = true\n")
    assert config.unbuilt == ()
    (line,) = exposed(config)
    assert "capture_content" in line
    assert "not all that is private" in line
