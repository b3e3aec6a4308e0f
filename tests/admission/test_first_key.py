import base64
import hashlib
import os
import stat
from pathlib import Path

import msgspec
import pytest

from octoroute_py.admission.first_key import KEY_FILE, ensure_admin_key, new_key
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.words import Role


def test_the_first_start_makes_an_admin_key_and_shows_it_once(tmp_path: Path) -> None:
    made, clear = ensure_admin_key(tmp_path)
    assert clear is not None
    assert made.role is Role.ADMIN
    assert made.sha256 == hashlib.sha256(clear.encode()).hexdigest()
    assert ensure_admin_key(tmp_path) == (made, None)


def test_only_the_hash_is_kept_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    _, clear = ensure_admin_key(tmp_path)
    assert clear is not None
    assert [entry.name for entry in tmp_path.iterdir()] == [KEY_FILE]
    content = (tmp_path / KEY_FILE).read_text()
    assert not any(clear[start : start + 12] in content for start in range(len(clear) - 11))
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_the_mode_is_0600_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        ensure_admin_key(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_keys_are_random_and_carry_a_checksum_a_scanner_can_verify() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        body, check = key[:-4], key[-4:]
        assert body.startswith("okr-")
        assert len(base64.b32decode(body.removeprefix("okr-").upper())) * 8 >= 128
        assert check == base64.b32encode(hashlib.sha256(body.encode()).digest()).decode().lower()[:4]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    ensure_admin_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        ensure_admin_key(tmp_path)


def entry(**changes: object) -> bytes:
    return msgspec.json.encode({"name": "admin", "role": "admin", "sha256": "ab" * 32, "last4": "abcd"} | changes)


HEADER = b'{"octoroute_keys":1}\n'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        HEADER,
        entry(),
        HEADER + entry()[:-5],
        b'{"octoroute_keys":2}\n' + entry(),
        HEADER + entry(sha256="short"),
        HEADER + entry(role="inference"),
        HEADER + entry(role="root"),
        HEADER + entry(expires=5),
        HEADER + entry() + b"\n" + entry(),
        b"\xff\xfe\n\xff",
        b"\0" * 100_000,
    ],
)
def test_a_damaged_file_is_an_error_and_never_open_access(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged"):
        ensure_admin_key(tmp_path)
    assert path.read_bytes() == content


def test_links_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    places = [tmp_path / "folder", tmp_path / "pipe", tmp_path / "link"]
    for place in places:
        place.mkdir()
    (places[0] / KEY_FILE).mkdir()
    os.mkfifo(places[1] / KEY_FILE, 0o600)
    (places[2] / KEY_FILE).symlink_to(tmp_path / "elsewhere")
    for folder in places:
        with pytest.raises(ConfigError):
            ensure_admin_key(folder)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_written_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        ensure_admin_key(tmp_path / "missing")
    assert all(word in str(caught.value) for word in ("auth.keys", "TINY_DANCER_AUTH_TOKEN", "auth.mode"))
