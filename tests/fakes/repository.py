"""The repository as the architecture tests see it: its root, its files, its product modules."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "octoroute_py"

_MADE_BY_TOOLS = {"__pycache__", "build", "dist"}


def repository_files() -> list[Path]:
    """Every file that belongs to the repository, relative to its root; git knows best, a plain copy is walked."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        return sorted(path for name in listed.split("\0") if name and (path := Path(name)) and (ROOT / path).is_file())
    walked = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in walked if not _is_made_by_a_tool(path))


def _is_made_by_a_tool(path: Path) -> bool:
    folders = path.parts[:-1]
    hidden = any(folder.startswith(".") and folder != ".ci" for folder in folders)
    return hidden or bool(_MADE_BY_TOOLS & set(folders)) or path.suffix == ".pyc"


def product_modules() -> list[Path]:
    """Every Python module of the package, relative to the root."""
    return sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))


def rooms() -> list[str]:
    """The rooms of the package: its folders, and its top-level modules other than `__init__` and `__main__`."""
    folders = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    modules = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
    return sorted(folders + modules)
