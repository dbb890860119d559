"""YAML to nodes: the meanings of YAML 1.2, every value with the place that it came from.

PyYAML's C parser keeps marks and is 20 times faster than a pure YAML 1.2 parser; scalars are resolved here. What
YAML 1.1 and 1.2 read differently is refused, because other tools read the same files.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.constructor import BaseConstructor
from yaml.cyaml import CParser
from yaml.resolver import BaseResolver

from mimflow.errors import SpecError

NODE_LIMIT = 20_000
"""Nodes of one file, aliases counted each time they are used."""
DEPTH_LIMIT = 50
"""Levels of nesting."""
SIZE_LIMIT = 1_000_000
"""Bytes of one file."""
TEXT_LIMIT = 10_000
"""Characters of one text."""
INTEGER_LIMIT = 2**63
"""The first whole number that is too large; what seeds, counts and sizes are kept in has 64 bits."""


class Mark(NamedTuple):
    """A place in a file, lines and columns from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True)
class Node:
    """A value with its place: `value` is a dict or list of nodes, or a scalar."""

    value: Any
    mark: Mark
    key_mark: Mark | None = None
    """Where the key of this value stands."""
    drops: bool = False
    """Whether it is a null that stands where another file, or the run that is varied, has a value."""
    invented: bool = False
    """Whether an override made this mapping, because nothing of its name was written out."""

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
AXIS = "y"
"""The one word among the truth values of YAML 1.1 that is a key of ours."""
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff]")
"""What looks like a space, or like nothing, and is none to YAML: copied from web pages and PDFs."""
_STEERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, separators of lines, half characters, and marks that make editors show text in another order."""
_INDENT = re.compile(r"^[ ?:-]*", re.MULTILINE)
"""What stands before a line's first value: each block that begins there has a column of its own."""
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


@lru_cache(1024)
def parse(text: str, shown: str) -> Node:
    """Parse the text of a YAML mapping into nodes, which are not to be changed: many specs extend one file."""
    start = Mark(shown)
    try:
        _require_shallow(text, shown)
        tree = _Composer(text).get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Mark(shown, mark.line + 1, mark.column + 1) if mark else start
        problem = getattr(error, "problem", None) or str(error)
        lines = text.splitlines()
        tab = mark is not None and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]
        hint = "a tab: indent with spaces" if tab else _space_hint(lines[: place.line])
        raise ReadError(place, f"not YAML: {problem}", hint) from None
    except RecursionError:
        raise ReadError(start, "nested too deeply") from None
    if tree is None:
        raise ReadError(start, "empty", "a spec is a mapping of fields")
    if not isinstance(tree, yaml.MappingNode):
        hint = _space_hint(text.splitlines()) or "a spec is a mapping of fields: `name: value`"
        raise ReadError(_mark(tree, shown), "not a mapping", hint)
    return _Converter(shown).convert(tree)


def _require_shallow(text: str, shown: str) -> None:
    """ReadError for a text that nests deeper than specs do: to compose it, the C parser would overflow its stack."""
    # A block begins further right than the one that holds it, or in the same column if it is a list in a mapping.
    indented = max(len(found[0]) for found in _INDENT.finditer(text))
    if 2 * (indented + 1) + text.count("[") + text.count("{") <= DEPTH_LIMIT:
        return
    events, depth = _Composer(text), 0
    while events.check_event():
        event = events.get_event()
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            raise ReadError(_mark(event, shown), f"nested more than {DEPTH_LIMIT} deep", "a spec is flat")


def _text(path: Path, shown: str) -> str:
    start = Mark(shown)
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except IsADirectoryError:
        raise ReadError(start, "a folder, not a file") from None
    except FileNotFoundError:
        raise ReadError(start, "no such file") from None
    except OSError as error:
        raise ReadError(start, f"can't be read: {error.strerror}") from None
    if len(data) > SIZE_LIMIT:
        raise ReadError(start, f"more than {SIZE_LIMIT:,} bytes", "a spec is small")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ReadError(Mark(shown, line, column), "not UTF-8", "save it as UTF-8") from None
    found = _control(text, "\n\r\t")
    if found is not None:
        line = text.count("\n", 0, found) + 1
        column = found - text.rfind("\n", 0, found)
        raise ReadError(Mark(shown, line, column), f"control character {text[found]!a}", "remove it")
    return text


def _control(text: str, allowed: str) -> int | None:
    """Where the first character stands that steers a terminal or an editor instead of being seen, if there is any."""
    if text.isprintable():
        return None
    return next((found.start() for found in _STEERS.finditer(text) if found[0] not in allowed), None)


def _space_hint(lines: list[str]) -> str:
    """A hint at the last character of some lines that is no space but looks like one."""
    for number, line in reversed(list(enumerate(lines, 1))):
        found = _SPACES.search(line)
        if found:
            return f"{_named(found[0])} at line {number}, column {found.start() + 1}: type a space"
    return ""


def _named(character: str) -> str:
    name = {"\u00a0": "no-break space"}.get(character, unicodedata.name(character, "a character").lower())
    return f"{name} (U+{ord(character):04X})"


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
            key = self._key(key_node, key_mark) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                what = repr(key) if isinstance(key_node, yaml.ScalarNode) else "a list or a mapping"
                raise ReadError(key_mark, f"a key that is not text: {what}", "quote it")
            self._require_plain_key(key, key_mark)
            if key == "<<":
                raise ReadError(key_mark, "merge keys are YAML 1.1", "use `extends`")
            if key in items:
                first = items[key].key_mark
                assert first is not None
                raise ReadError(key_mark, f"key '{key}' twice", f"first at line {first.line}")
            items[key] = self.convert(value_node, depth)
            items[key].key_mark = key_mark
        return items

    def _key(self, node: Any, mark: Mark) -> Any:
        """A key; `y` is the name of a field, as it is of an axis, and no truth value that anybody would mean."""
        return node.value if node.value == AXIS else self._scalar(node, mark)

    def _require_plain_key(self, key: str, mark: Mark) -> None:
        space = _SPACES.search(key)
        if space:
            raise ReadError(mark, f"{_named(space[0])} in the key {key!a}", "type a space")
        if _control(key, "") is not None:
            raise ReadError(mark, f"control character in the key {key!a}", "remove it")

    def _is_number(self, text: str) -> bool:
        return any(pattern.fullmatch(text) for pattern in (_INT, _HEX, _FLOAT))

    def _scalar(self, node: Any, mark: Mark) -> Any:
        text: str = node.value
        if len(text) > TEXT_LIMIT:
            raise ReadError(mark, f"a text of {len(text):,} characters", f"at most {TEXT_LIMIT:,}")
        found = _control(text, "\n\t")
        if found is not None:
            raise ReadError(mark, f"control character {text[found]!a} in a text", "remove it")
        if node.style is not None and node.style != "":
            return text
        space = _SPACES.search(text)
        if space and (space.start() == 0 or _SPACES.match(text[-1]) or self._is_number(_SPACES.sub("", text))):
            raise ReadError(mark, f"{_named(space[0])} in {text!a}", "type a space, or quote a text that has it")
        if text in _WORDS:
            return _WORDS[text]
        for pattern, what, hint in _AMBIGUOUS:
            if pattern.fullmatch(text):
                raise ReadError(mark, f"`{text}` is {what}", hint)
        if _INT.fullmatch(text) or _HEX.fullmatch(text):
            # Digits are counted first: Python refuses to read thousands of them.
            if len(text) > 70 or abs(int(text, 0)) >= INTEGER_LIMIT:
                shown = text if len(text) <= 30 else f"{text[:27]}…"
                raise ReadError(mark, f"{shown} is too large for a whole number", f"below {INTEGER_LIMIT:,}")
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            value = float(text)
            if value in (float("inf"), float("-inf")):
                raise ReadError(mark, f"{text} is too large for a number")
            return value
        if _NOT_FINITE.fullmatch(text):
            raise ReadError(mark, f"{text} is not a finite number", "numbers are finite")
        return text
