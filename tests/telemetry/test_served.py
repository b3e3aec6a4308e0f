"""The labels of an endpoint, from its configuration."""

from octoroute_py.config.load import parse_config
from octoroute_py.core.registry import EMPTY_REGISTRY
from octoroute_py.telemetry.served import served_by

CONFIG = """
[routing]
strategy = "rule"
router_tier = "balanced"

[[models.fast]]
name = "small"
base_url = "http://127.0.0.1:8081/v1"
kind = "llama_cpp"
max_tokens = 512

[[models.balanced]]
name = "medium"
base_url = "https://api.groq.com/openai/v1"
max_tokens = 512

[[models.deep]]
name = "large"
base_url = "https://api.openai.com/v1"
max_tokens = 512
"""


def test_the_provider_is_what_it_speaks_and_the_vendor_whose_host_it_is_as_in_spans() -> None:
    found = served_by(parse_config(CONFIG), EMPTY_REGISTRY)
    assert [(each.model, each.provider, each.vendor) for each in found] == [
        ("small", "llama_cpp", "openai"),
        ("medium", "openai", "groq"),
        ("large", "openai", "openai"),
    ]
