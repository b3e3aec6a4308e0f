"""What a file may ask for although this version cannot do it yet: one line each, so that nothing is ignored."""

from octoroute_py.config.schema import Config, EndpointKind


def unbuilt(config: Config, *, tables: frozenset[str]) -> tuple[str, ...]:
    """The lines for this configuration; `tables` are the names of the file's own top-level tables."""
    lines = []
    url = config.storage.url
    if url is not None and not url.reveal().startswith("sqlite:///"):
        lines.append("[storage] on a database server comes with replicas; in this version give a sqlite:/// URL")
    if "redis" in tables:
        lines.append("[redis] comes with shared counters; in this version leave the table out")
    lines.extend(
        f'kind "llama_cpp" of {endpoint.id} comes with its admission control; '
        'in this version `kind = "openai"` works with llama.cpp\'s server'
        for endpoint in config.endpoints
        if endpoint.kind is EndpointKind.LLAMA_CPP
    )
    return tuple(lines)
