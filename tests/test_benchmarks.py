"""What the scripts of ``benchmarks/`` import, most of which no test runs."""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = {
    path.stem: ast.parse(path.read_text(), str(path))
    for path in (Path(__file__).resolve().parents[1] / "benchmarks").glob("*.py")
}


def names_of(script: ast.Module) -> set[str]:
    """Functions, classes, assigned and imported names."""
    found: set[str] = set()
    for node in ast.walk(script):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                found |= {alias.asname or alias.name for alias in names}
    return found


def is_there(module: str, name: str) -> bool:
    if module in SCRIPTS:
        return name in names_of(SCRIPTS[module])
    found = import_module(module)
    is_package = hasattr(found, "__path__")
    return hasattr(found, name) or (is_package and find_spec(f"{module}.{name}") is not None)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_a_script_imports_is_there(script: str) -> None:
    imports = [node for node in ast.walk(SCRIPTS[script]) if isinstance(node, ast.ImportFrom)]
    lacking = [
        f"{node.module}.{alias.name}"
        for node in imports
        if node.module in SCRIPTS or (node.module or "").startswith("recbole_diffusion")
        for alias in node.names
        if not is_there(node.module or "", alias.name)
    ]
    assert lacking == []
