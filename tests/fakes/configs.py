"""Configuration texts that tests start from."""

MINIMAL = """
[[models.fast]]
name = "small"
base_url = "http://127.0.0.1:1/v1"
[[models.balanced]]
name = "middle"
base_url = "http://127.0.0.1:2/v1"
[[models.deep]]
name = "large"
base_url = "http://127.0.0.1:3/v1"
[routing]
strategy = "rule"
"""
"""The least a configuration needs; more keys of [routing] and more tables may be added at its end."""


def with_endpoint(keys: str) -> str:
    """MINIMAL with these lines added to the fast endpoint, from line 5 on."""
    first = 'base_url = "http://127.0.0.1:1/v1"\n'
    return MINIMAL.replace(first, first + keys + "\n")
