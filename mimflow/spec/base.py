"""What every spec has in common: strictness, problems with a place, and an identity."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

Path = tuple[str | int, ...]
"""Where a field stands in a spec: `("phases", 0, "optimizer", "lr")`."""

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What a name may look like: it becomes a folder, a Snakemake wildcard and a shell word."""

Name = Annotated[str, StringConstraints(pattern=rf"^{SLUG.pattern}$")]
LARGEST = 10**9
"""The largest number that a person can mean where a spec counts something."""

PLAIN = (str, int, float, type(None))
"""The types of values that hold no others."""

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
PART_LIMIT, PATH_LIMIT = 255, 4_000
"""Bytes of a name, and of a whole path, that file systems take."""


def _possible(path: str) -> str:
    if len(path.encode()) > PATH_LIMIT or any(len(part.encode()) > PART_LIMIT for part in path.split("/")):
        raise PydanticCustomError("path", "longer than a path can be")
    return path


FilePath = Annotated[str, StringConstraints(min_length=1), AfterValidator(_possible)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class OutsideKey:
    """Marks a field that never enters a key: a label, a device, a number of workers."""


OUTSIDE_KEY = OutsideKey()


class InKeyIfSet:
    """Marks a field that enters a key only where it is not its default: one added to a part that has results."""


IN_KEY_IF_SET = InKeyIfSet()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a spec, where, and what would be right."""

    path: Path
    message: str
    hint: str = ""

    def within(self, *prefix: str | int) -> Problem:
        """The same problem, seen from a spec that holds this one under `prefix`."""
        return Problem((*prefix, *self.path), self.message, self.hint)


class Spec(BaseModel):
    """Pure data: unknown keys refused, nothing coerced, every number finite, never changed once made."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True, serialize_by_alias=True
    )

    outside_key: ClassVar[frozenset[str]]
    ties: ClassVar[bool] = True
    """Whether `${prior.width}` in it stands for another field of its own: in an ablation, for one of the run's."""
    in_key_if_set: ClassVar[frozenset[str]]
    refused: ClassVar[dict[str, str]] = {}
    """Fields of its neighbours that it has not, and why not: what is said to those who write one."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.outside_key, cls.in_key_if_set = (
            frozenset(
                name
                for name, field in cls.model_fields.items()
                if any(isinstance(mark, kind) for mark in field.metadata)
            )
            for kind in (OutsideKey, InKeyIfSet)
        )

    def problems(self) -> Iterator[Problem]:
        """Contradictions between this spec's own fields. Paths are relative to this spec."""
        return iter(())

    def warnings(self) -> Iterator[Problem]:
        """What may be meant, but seldom is. Paths are relative to this spec."""
        return iter(())

    def identity(self) -> dict[str, Any]:
        """What enters the key: every field but those marked `OUTSIDE_KEY`, as plain data.

        Of those marked `IN_KEY_IF_SET`, the ones that are not their defaults.
        """
        held = vars(self)
        return {
            written: _identity(held[name])
            for name, written, if_set in type(self)._keyed_names()
            if not (if_set and self._is_default(name))
        }

    def _is_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True))

    @classmethod
    @cache
    def _keyed_names(cls) -> tuple[tuple[str, str, bool], ...]:
        """The fields that may enter a key, each with its name in files and whether it does only where it is set."""
        return tuple(
            (name, written, name in cls.in_key_if_set)
            for name, written in cls.written_names().items()
            if name not in cls.outside_key
        )

    @classmethod
    @cache
    def written_names(cls) -> dict[str, str]:
        """Its fields, each with the name that it has in files: another where that is a word of Python's."""
        return {name: field.alias or name for name, field in cls.model_fields.items()}


def _identity(value: Any) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Spec):
        return value.identity()
    if isinstance(value, dict):
        return {key: _identity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_identity(item) for item in value]
    return value


def all_problems(value: Any) -> Iterator[Problem]:
    """The problems of a spec and of every spec inside it, with paths from the outermost."""
    if isinstance(value, Spec):
        yield from value.problems()
        items: Any = vars(value).items()
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return
    for name, item in items:
        if not isinstance(item, PLAIN):
            for problem in all_problems(item):
                yield problem.within(name)


def repeated(field: str, values: Sequence[Any] | None, one: str) -> Iterator[Problem]:
    """A problem if a list has a value twice; none if it is not given. `one` says what one of them is."""
    if values is not None and len(set(values)) < len(values):
        yield Problem((field,), f"a {one} twice: {list(values)}", "each once")
