"""The files of the page, read once: nothing of the file system is touched by a request, and no other file is served."""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

STATIC: Final = Path(__file__).with_name("static")
"""Where they lie, inside the package."""
INDEX: Final = "index.html"

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
_PACKED: Final = frozenset({".png", ".ico", ".woff2"})
"""What is compressed by itself."""


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is sent; `gzipped` is None where that would save nothing.

    The two forms have an ETag each: a strong one stands for bytes, not for what they mean.
    """

    content_type: str
    body: bytes
    etag: str
    gzipped: bytes | None
    gzipped_etag: str


def read_assets(folder: Path = STATIC) -> Mapping[str, Asset]:
    """Every file of the folder by its path in it, with slashes.

    A file of a kind that the page does not need (a map of sources, a licence) is left out: it is never served.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _TYPES:
            found[path.relative_to(folder).as_posix()] = _asset(path)
    return found


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:32]
    packed = None if path.suffix in _PACKED else gzip.compress(body, 9, mtime=0)
    if packed is not None and len(packed) >= len(body):
        packed = None
    return Asset(
        content_type=_TYPES[path.suffix],
        body=body,
        etag=f'"{digest}"',
        gzipped=packed,
        gzipped_etag=f'"{digest}-gz"',
    )
