"""octoroute-py: an OpenAI-compatible gateway that picks the right model tier for every request."""

__version__ = "0.1.0"
