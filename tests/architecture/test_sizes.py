"""Modules and functions stay short enough to be read in one go."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.repository import ROOT, product_modules, repository_files

MAX_MODULE_LINES = 600
MAX_FUNCTION_LINES = 40
MAX_LEVELS = 4
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "service", "handler", "common", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


def python_files() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".py"]


def functions_of(path: Path) -> Iterator[Function]:
    tree = ast.parse((ROOT / path).read_text())
    yield from (node for node in ast.walk(tree) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the end."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def levels(node: ast.AST, *, depth: int = 0) -> int:
    """How deep blocks are nested inside `node`; an `elif` stays on the level of its `if`."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        opens = isinstance(child, BLOCKS) and not chained
        deepest = max(deepest, levels(child, depth=depth + opens))
    return deepest


def test_no_module_is_longer_than_600_lines() -> None:
    sizes = {str(path): len((ROOT / path).read_text().splitlines()) for path in python_files()}
    assert {path: size for path, size in sizes.items() if size > MAX_MODULE_LINES} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in python_files() if path.stem in FORBIDDEN_NAMES] == []


def test_no_function_of_the_product_is_longer_than_40_lines() -> None:
    long = [
        f"{path}:{function.lineno} {function.name}: {body_lines(function)} lines"
        for path in product_modules()
        if "migrations" not in path.parts  # a released revision is a list of columns, and never changed
        for function in functions_of(path)
        if body_lines(function) > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_function_of_the_product_nests_deeper_than_4_levels() -> None:
    deep = [
        f"{path}:{function.lineno} {function.name}: {levels(function)} levels"
        for path in product_modules()
        for function in functions_of(path)
        if levels(function) > MAX_LEVELS
    ]
    assert deep == []
