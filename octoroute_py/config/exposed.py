"""What a valid configuration leaves more open than its operator may think, one line each."""

import stat

from octoroute_py.config.schema import Config

_ANY_ORIGIN = "*"


def exposed(config: Config) -> tuple[str, ...]:
    """The lines for this configuration; looks at the mode of the TLS key's file."""
    lines = []
    tls = config.server.tls
    if tls is not None:
        try:
            mode = stat.S_IMODE(tls.key_file.stat().st_mode)
        except OSError:
            mode = 0
        if mode & 0o077:
            lines.append(f"server.tls.key_file can be read by other users of this machine (mode {mode:04o}): chmod 600")
    if _ANY_ORIGIN in config.cors.origins:
        lines.append('cors.origins = ["*"] lets every web page use whatever needs no key, and read the answers')
    if config.observability.capture_content:
        lines.append(
            "observability.capture_content = true writes the text of prompts and answers into the log; "
            "masking finds what looks like personal data and keys, not all that is private"
        )
    return tuple(lines)
