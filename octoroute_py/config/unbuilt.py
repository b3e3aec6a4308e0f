"""What a file may ask for although this version cannot do it yet: one line each, so that nothing is ignored."""

from octoroute_py.config.schema import Config, EndpointKind


def unbuilt(config: Config, *, tables: frozenset[str], rate_limit: int | None) -> tuple[str, ...]:
    """The lines for this configuration; `tables` are the names of the file's own top-level tables."""
    lines = []
    if config.storage_url is not None and not config.storage_url.reveal().startswith("sqlite:///"):
        lines.append("[storage] on a database server comes with the ledger; in this version give a sqlite:/// URL")
    if "redis" in tables:
        lines.append("[redis] comes with shared counters; in this version leave the table out")
    if config.limits.requests_per_minute is not None:
        lines.append("limits.requests_per_minute comes with rate limits; in this version leave it out")
    if config.limits.tokens_per_minute is not None:
        lines.append("limits.tokens_per_minute comes with rate limits; in this version leave it out")
    if rate_limit is not None:
        lines.append("RATE_LIMIT_MAX comes with rate limits; in this version leave it unset")
    if config.observability.capture_content:
        lines.append("observability.capture_content = true comes with the database; in this version leave it false")
    lines.extend(
        f'kind "llama_cpp" of {endpoint.id} comes with its admission control; '
        'in this version `kind = "openai"` works with llama.cpp\'s server'
        for endpoint in config.endpoints
        if endpoint.kind is EndpointKind.LLAMA_CPP
    )
    return tuple(lines)
