"""The page's own sources: text never becomes markup or code, nothing is kept, nothing comes from elsewhere."""

import re
from pathlib import Path

import pytest

from octoroute_py.web.assets import STATIC

SUFFIXES = (".js", ".html", ".css")
OURS = [path for path in sorted(STATIC.rglob("*")) if path.suffix in SUFFIXES and "vendor" not in path.parts]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_nothing_of_ours_makes_markup_or_code_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTMLUnsafe"
        r"|createContextualFragment|localStorage|sessionStorage|document\.cookie|\sstyle=|\son\w+=\"|javascript:"
    )
    assert re.findall(forbidden, text) == []


def test_nothing_is_asked_of_anybody_else() -> None:
    for path in OURS:
        links = set(re.findall(r"https?://[\w.]+", path.read_text(encoding="utf-8")))
        assert links <= {"http://www.w3.org"}, path
