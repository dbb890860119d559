"""A user's own function that draws a figure: where it lies, what its source is, how it is imported and called.

It is code of the project's own, as trusted as the project: nothing keeps it from doing what any program may.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module, invalidate_caches, util
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType
from typing import Any

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import SpecError
from mimflow.spec.compose import OUTSIDE, nearest, shown_path, within


def function_problem(function: str, root: Path) -> tuple[str, str] | None:
    """What is wrong with the place of a function, and what would be right; None if there is such a function."""
    place, _, name = function.partition(":")
    file = source_file(place, root)
    if file is None:
        kind = "file" if _is_path(place) else "module"
        return f"no {kind} {place}", "a file of the project, figures/mine.py:draw, or a module: mypackage.figures:draw"
    if _is_path(place) and not within(file, root):
        return f"{place} lies outside of the project", f"copy it, or name its folder in {OUTSIDE}"
    try:
        known = _top_names(file)
    except SyntaxError as error:
        return f"{shown_path(file, root)}:{error.lineno}: {error.msg}", ""
    except (OSError, ValueError):
        return f"{place} can't be read", "a file of Python in UTF-8"
    return None if name in known else (f"{place} has no function '{name}'", nearest(name, known))


def sources(function: str, root: Path) -> dict[str, str]:
    """The digests of the function's file and of all files of the project that it imports, by name."""
    file = source_file(function.partition(":")[0], root)
    found: dict[Path, str] = {}
    waiting = [] if file is None else [file]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = sha256_of(each)
            waiting += _imported(each, root)
    # Where an installed module lies is this machine's affair.
    named = {each: shown_path(each, root) if each.is_relative_to(root) else each.name for each in found}
    return {named[each]: found[each] for each in sorted(found)}


def source_file(place: str, root: Path) -> Path | None:
    """The file of a module or of a path; None if there is none. Nothing is imported for it."""
    if _is_path(place):
        file = root / place
        try:
            return file if file.is_file() else None
        except (OSError, ValueError):
            return None
    folders: list[str] | None = [str(root), *sys.path]
    origin = None
    name = ""
    invalidate_caches()
    for part in place.split("."):
        name = f"{name}.{part}" if name else part
        if folders is None:
            return None
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return None
        origin, folders = spec.origin, spec.submodule_search_locations and list(spec.submodule_search_locations)
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def call(function: str, root: Path, figure: str, *arguments: Any) -> None:
    """Import a function and call it; SpecError with file and line for whatever it raises."""
    place, _, name = function.partition(":")
    root = root.absolute()  # as tracebacks name files
    file = source_file(place, root)
    assert file is not None, "refused by function_problem"
    try:
        with _importable(root, file):
            loaded: Callable[..., object] = getattr(_load(place, file), name)
            loaded(*arguments)
            # What is wrong with its artists shows only here.
            arguments[-1].draw_without_rendering()
    except (Exception, SystemExit) as error:
        line = _line(error, file, root)
        text = " ".join(str(error).split())
        what = type(error).__name__ + (f": {text}" if text else "")
        raise SpecError(f"{line}: function of figure '{figure}': {what}") from error


def _is_path(place: str) -> bool:
    return place.endswith(".py")


def _load(place: str, file: Path) -> Any:
    if not _is_path(place):
        return import_module(place)
    spec = util.spec_from_file_location(f"mimflow_figure_{file.stem}", file)
    assert spec is not None and spec.loader is not None, "the file ends in .py"
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(root: Path, file: Path) -> Iterator[None]:
    """Within it the project's modules, and those beside the file, can be imported."""
    before = list(sys.path)
    sys.path[:0] = [str(file.parent), str(root)]
    try:
        yield
    finally:
        sys.path[:] = before


def _imported(file: Path, root: Path) -> Iterator[Path]:
    """The files of the project that a file imports, by its text."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = file.parents[node.level - 1]
                if not package.is_relative_to(root):
                    continue
                base = ".".join([*package.relative_to(root).parts, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    for name in dict.fromkeys(filter(None, names)):
        relative = Path(*name.split("."))
        for folder in dict.fromkeys((file.parent, root)):
            for candidate in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
                if candidate.is_file() and candidate.is_relative_to(root):
                    yield candidate


def _top_names(file: Path) -> list[str]:
    """What a module defines or imports at its top."""
    names: list[str] = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names += [alias.asname or alias.name for alias in node.names]
    return names


def _line(error: BaseException, file: Path, root: Path) -> str:
    """The last line of the project's that was at work, `figures/mine.py:7`; that of the function's file otherwise."""
    if isinstance(error, SyntaxError) and error.filename and within(Path(error.filename), root):
        return f"{shown_path(Path(error.filename), root)}:{error.lineno}"
    found = [
        (path, line)
        for path, line in _frames(error.__traceback__)
        if path == file or (path.is_relative_to(root) and "site-packages" not in path.parts)
    ]
    path, line = found[-1] if found else (file, 1)
    return f"{shown_path(path, root)}:{line}"


def _frames(traceback: TracebackType | None) -> Iterator[tuple[Path, int]]:
    while traceback is not None:
        yield Path(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno
        traceback = traceback.tb_next
