"""The page's files are read once, with an ETag for each form, and nothing is served that is no part of the page."""

import gzip
from pathlib import Path

from octoroute_py.web.assets import INDEX, STATIC, read_assets

MOST_BYTES = 300 * 1024
"""All that the page loads, unpacked."""


def test_the_page_that_is_shipped_has_its_files_and_is_light() -> None:
    assets = read_assets()
    assert {INDEX, "js/main.js", "app.css"} <= set(assets)
    assert sum(len(asset.body) for asset in assets.values()) <= MOST_BYTES


def test_every_file_of_the_page_is_served_or_is_a_licence() -> None:
    left_out = {path.suffix for path in STATIC.rglob("*") if path.is_file()} - {f".{INDEX.rpartition('.')[2]}"}
    served = {Path(name).suffix for name in read_assets()}
    assert left_out - served <= {".md", ""}


def test_a_file_has_its_type_and_unpacks_to_itself(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.js").write_text("const a = 1;\n" * 100)
    (asset,) = read_assets(tmp_path).values()
    assert list(read_assets(tmp_path)) == ["deep/a.js"]
    assert asset.content_type == "text/javascript; charset=utf-8"
    assert asset.gzipped is not None
    assert len(asset.gzipped) < len(asset.body)
    assert gzip.decompress(asset.gzipped) == asset.body


def test_the_tags_follow_the_bytes_and_tell_the_packed_form_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.css"
    file.write_text("a{}" * 100)
    first, again = read_assets(tmp_path)["a.css"], read_assets(tmp_path)["a.css"]
    file.write_text("b{}" * 100)
    other = read_assets(tmp_path)["a.css"]
    assert first == again
    assert len({first.etag, first.gzipped_etag, other.etag, other.gzipped_etag}) == 4


def test_what_packing_would_not_make_smaller_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a{}")
    (tmp_path / "a.png").write_bytes(b"\x89PNG" + b"\0" * 1000)
    assert {asset.gzipped for asset in read_assets(tmp_path).values()} == {None}


def test_a_kind_of_file_that_no_page_needs_is_left_out(tmp_path: Path) -> None:
    for name in ("main.js.map", "notes.md", ".env", "run.sh", "page.html~"):
        (tmp_path / name).write_text("secret" * 100)
    assert read_assets(tmp_path) == {}
