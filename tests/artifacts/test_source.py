"""What a module imports, by its text, against Python's own parser."""

from __future__ import annotations

import ast

from mimflow.artifacts.source import PACKAGE, imports


def test_imports_are_those_that_the_parser_finds() -> None:
    modules = {
        ".".join(("mimflow", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE or path.name != "__init__.py"
    }
    assert len(modules) > 300
    for module, path in modules.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        assert imports(module) == found & modules.keys(), module
