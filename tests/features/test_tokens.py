import pytest

from octoroute_py.features.tokens import estimate_tokens


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abc", 0), ("abcd", 1), ("a" * 1027, 256), ("日本語版", 1)])
def test_four_code_points_are_a_token_rounded_down(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
