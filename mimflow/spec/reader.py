"""YAML to nodes: the meanings of YAML 1.2, every value with the place that it came from.

PyYAML's C parser keeps marks and is 20 times faster than a pure YAML 1.2 parser; scalars are resolved here. What
YAML 1.1 and 1.2 read differently is refused, because other tools read the same files.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import BaseConstructor
from yaml.cyaml import CParser
from yaml.resolver import BaseResolver

from mimflow.errors import SpecError

NODE_LIMIT = 20_000
"""Nodes of one file, aliases counted each time they are used."""
DEPTH_LIMIT = 50
"""Levels of nesting."""


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a file, lines and columns from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass
class Node:
    """A value with its place: `value` is a dict or list of nodes, or a scalar."""

    value: Any
    mark: Mark
    key_mark: Mark | None = None
    """Where the key of this value stands."""
    drops: bool = False
    """Whether it is a null that stands where another file, or the run that is varied, has a value."""

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class _Composer(CParser, BaseConstructor, BaseResolver):  # type: ignore[misc]
    """Parses and composes; every plain scalar stays text."""

    def __init__(self, text: str):
        CParser.__init__(self, text)
        BaseConstructor.__init__(self)
        BaseResolver.__init__(self)


_STR = "tag:yaml.org,2002:str"
_DEFAULT_TAGS = {_STR, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_HEX = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_AMBIGUOUS = [
    (
        re.compile(r"(?i:y|n|yes|no|on|off)"),
        "a truth value to YAML 1.1 and text to 1.2",
        "true or false, or quotes",
    ),
    (
        re.compile(r"[-+]?0[0-9_]+(\.[0-9]*)?"),
        "octal to YAML 1.1 and decimal to 1.2",
        "no leading zero, or quotes",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
        "a number in base 60 to YAML 1.1 and text to 1.2",
        "quote it",
    ),
    (
        re.compile(r"[-+]?[0-9]+(_[0-9]+)+(\.[0-9_]*)?"),
        "a number to YAML 1.1 and text to 1.2",
        "no underscores",
    ),
    (re.compile(r"[-+]?0b[01_]+"), "binary to YAML 1.1 and text to 1.2", "write it in decimal"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*"), "a date to YAML 1.1 and text to 1.2", "quote it"),
]


class ReadError(SpecError):
    """A file that is not YAML as specs take it."""

    def __init__(self, mark: Mark, message: str, hint: str = ""):
        super().__init__(f"{mark}: {message}" + (f" ({hint})" if hint else ""))


def read(path: Path, shown: str) -> Node:
    """Read a YAML mapping. `shown` is how the file is named in messages. ReadError (exit 2) says what is wrong."""
    if _special(path):
        raise ReadError(Mark(shown), "a pipe or a device, not a file", "reading it may never end")
    return parse(_text(path, shown), shown)


def _special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@lru_cache(256)
def parse(text: str, shown: str) -> Node:
    """Parse the text of a YAML mapping into nodes, which are not to be changed: many specs extend one file."""
    start = Mark(shown)
    try:
        composer = _Composer(text)
        tree = composer.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Mark(shown, mark.line + 1, mark.column + 1) if mark else start
        problem = getattr(error, "problem", None) or str(error)
        lines = text.splitlines()
        tab = mark is not None and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]
        hint = "a tab: indent with spaces" if tab else ""
        raise ReadError(place, f"not YAML: {problem}", hint) from None
    except RecursionError:
        raise ReadError(start, "nested too deeply") from None
    if tree is None:
        raise ReadError(start, "empty", "a spec is a mapping of fields")
    if not isinstance(tree, yaml.MappingNode):
        raise ReadError(_mark(tree, shown), "not a mapping", "a spec is a mapping of fields: `name: value`")
    return _Converter(shown).convert(tree)


def _text(path: Path, shown: str) -> str:
    start = Mark(shown)
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ReadError(start, "a folder, not a file") from None
    except FileNotFoundError:
        raise ReadError(start, "no such file") from None
    except OSError as error:
        raise ReadError(start, f"can't be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ReadError(Mark(shown, line, column), "not UTF-8", "save it as UTF-8") from None
    for index, character in enumerate(text):
        if character < " " and character not in "\n\r\t":
            line = text.count("\n", 0, index) + 1
            column = index - text.rfind("\n", 0, index)
            raise ReadError(Mark(shown, line, column), f"control character {character!r}", "remove it")
    return text


def _mark(node: Any, shown: str) -> Mark:
    return Mark(shown, node.start_mark.line + 1, node.start_mark.column + 1)


class _Converter:
    """Composed YAML nodes to ours."""

    def __init__(self, shown: str):
        self.shown = shown
        self.count = 0

    def convert(self, node: Any, depth: int = 0) -> Node:
        mark = _mark(node, self.shown)
        self.count += 1
        if depth > DEPTH_LIMIT:
            raise ReadError(mark, f"nested more than {DEPTH_LIMIT} deep", "does an alias hold itself?")
        if self.count > NODE_LIMIT:
            raise ReadError(mark, f"more than {NODE_LIMIT} values once aliases are expanded", "a spec is small")
        if node.tag not in _DEFAULT_TAGS:
            raise ReadError(mark, f"tag '{node.tag}' is not allowed", "specs are plain data: remove the tag")
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, depth + 1), mark)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.convert(item, depth + 1) for item in node.value], mark)
        return Node(self._scalar(node, mark), mark)

    def _mapping(self, node: Any, depth: int) -> dict[str, Node]:
        items: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key_mark = _mark(key_node, self.shown)
            key = self._scalar(key_node, key_mark) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise ReadError(key_mark, f"a key that is not text: {key_node.value!r}", "quote it")
            if key == "<<":
                raise ReadError(key_mark, "merge keys are YAML 1.1", "use `extends`")
            if key in items:
                first = items[key].key_mark
                assert first is not None
                raise ReadError(key_mark, f"key '{key}' twice", f"first at line {first.line}")
            items[key] = self.convert(value_node, depth)
            items[key].key_mark = key_mark
        return items

    def _scalar(self, node: Any, mark: Mark) -> Any:
        text: str = node.value
        if node.style is not None and node.style != "":
            return text
        if text in _WORDS:
            return _WORDS[text]
        for pattern, what, hint in _AMBIGUOUS:
            if pattern.fullmatch(text):
                raise ReadError(mark, f"`{text}` is {what}", hint)
        if _INT.fullmatch(text) or _HEX.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            value = float(text)
            if value in (float("inf"), float("-inf")):
                raise ReadError(mark, f"{text} is too large for a number")
            return value
        if _NOT_FINITE.fullmatch(text):
            raise ReadError(mark, f"{text} is not a finite number", "numbers are finite")
        return text
