"""Registries: one an axis, one line a member.

A member is a spec class (its `kind` names it) and the import path of what builds it. Used as an annotation,
a registry turns its axis' base class into Pydantic's discriminated union of the members, so that the JSON
Schema, the messages of `mimflow validate` and the contract tests all follow from the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, reduce
from importlib import import_module
from operator import or_
from typing import Annotated, Any

from pydantic import Discriminator, Field, GetCoreSchemaHandler, Tag

from mimflow.spec.base import Spec


class Registry:
    """The members of one axis: `Registry("prior", (TarflowSpec, "mimflow.priors.tarflow.model:build"), …)`.

    A mapping that names no kind is one of the kind `default`, where there is one, and wrong otherwise.
    """

    def __init__(self, axis: str, *members: tuple[type[Spec], str], default: str | None = None):
        self.axis = axis
        self.default = default
        self._members = {spec.model_fields["kind"].default: (spec, target) for spec, target in members}
        if len(self._members) != len(members):
            raise ValueError(f"two members of the {axis} registry have the same kind")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def spec(self, kind: str) -> type[Spec]:
        """The spec class of the member named `kind`."""
        return self._members[kind][0]

    def builder(self, kind: str) -> str:
        """The import path of what builds the member named `kind`: `module:name`."""
        return self._members[kind][1]

    def module(self, kind: str) -> str:
        """The module that builds the member named `kind`."""
        return self._members[kind][1].partition(":")[0]

    def build(self, spec: Spec, *arguments: Any, **options: Any) -> Any:
        """Import the member that `spec` describes and build it. This is where torch may be imported."""
        module, _, function = self._members[spec.kind][1].partition(":")  # type: ignore[attr-defined]
        return getattr(import_module(module), function)(spec, *arguments, **options)

    @cached_property
    def union(self) -> Any:
        specs = [spec for spec, _ in self._members.values()]
        if len(specs) == 1:
            return specs[0]
        if self.default is None:
            return Annotated[reduce(or_, specs), Field(discriminator="kind")]
        tagged: list[Any] = [Annotated[spec, Tag(kind)] for kind, (spec, _) in self._members.items()]
        return Annotated[reduce(or_, tagged), Discriminator(self._kind_of)]

    def _kind_of(self, value: Any) -> str | None:
        """The kind of a mapping or a spec; None of anything else, and of a kind that is no text."""
        kind = value.get("kind", self.default) if isinstance(value, dict) else getattr(value, "kind", None)
        return kind if isinstance(kind, str) else None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return handler.generate_schema(self.union)
