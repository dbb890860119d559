"""Weights are references: another run's, an earlier phase's, a file's, or an entry's of the catalogue of files.

What a reference names enters the key by the key of the job, or by the digest of the file, not by the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Discriminator, GetJsonSchemaHandler, Tag, ValidationInfo, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from mimflow.spec.base import OUTSIDE_KEY, PLAIN, SLUG, FilePath, Name, Sha256, Spec
from mimflow.spec.compose import nearest

UNRESOLVED = "unresolved_weights"
"""The type of the error for a name that can't be resolved; its context has a `hint`."""


class RunWeights(Spec):
    """Weights that a run of this project trained."""

    run: Annotated[Name | None, OUTSIDE_KEY] = None
    """The run whose weights are taken; not given: this one."""
    phase: Annotated[Name | None, OUTSIDE_KEY] = None
    """The phase whose weights are taken; not given: the last."""
    seed: Annotated[int | None, OUTSIDE_KEY] = None
    """The seed whose weights are taken; not given: the same for this run, the first of another's."""
    ema: bool = False
    """Whether the averaged weights are taken instead of the last step's."""
    modules: list[str] | None = None
    """Which modules to take, or parts of a tokenizer (`tokenizer.encoder`); not given: all that both sides have."""


class FileWeights(Spec):
    """Weights in a file that the user brings, or that `mimflow import-checkpoint` made.

    A name of `specs/weights` stands for `{name: …}`, whose file and digest are the catalogue's; or both are written
    out.
    """

    name: Annotated[Name | None, OUTSIDE_KEY] = None
    """The entry of the catalogue; not given: a file of this spec's own."""
    file: Annotated[FilePath, OUTSIDE_KEY]
    """Path of the file, relative to the project."""
    sha256: Sha256 | None
    """SHA-256 of the file: one with another is refused; null: not known yet, and jobs are refused until it is."""
    modules: list[str] | None = None
    """Which modules to take; not given: all that both sides have."""

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, value: Any, info: ValidationInfo) -> Any:
        """The fields with file and digest of the entry that they name, by the catalogue in the context."""
        fields = {"name": value} if isinstance(value, str) else value
        catalogue: Mapping[str, FileWeights] | None = (info.context or {}).get("weights")
        if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
            return value
        if catalogue is None:  # a spec that was resolved before
            return fields
        written = [field for field in ("file", "sha256") if field in fields]
        if written:
            raise PydanticCustomError(
                UNRESOLVED,
                "a name, and {written} beside it",
                {"written": " and ".join(written), "hint": "the catalogue has file and digest: keep the name alone"},
            )
        entry = catalogue.get(fields["name"])
        if entry is None:
            hint = nearest(fields["name"], catalogue)
            raise PydanticCustomError(
                UNRESOLVED, "there are no weights '{name}'", {"name": fields["name"], "hint": hint}
            )
        return fields | {"file": entry.file, "sha256": entry.sha256}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A name, a mapping with one, or one with file and digest."""
        mapping = handler(schema)
        del mapping["required"]
        mapping["anyOf"] = [{"required": ["name"]}, {"required": ["file", "sha256"]}]
        name = {"type": "string", "pattern": rf"^{SLUG.pattern}$", "description": "A name of specs/weights."}
        return {"anyOf": [name, mapping]}


def files_in(value: Any) -> Iterator[FileWeights]:
    """Every file of weights that a spec names, at any depth."""
    if isinstance(value, FileWeights):
        yield value
        return
    if isinstance(value, Spec):
        items: Any = vars(value).values()
    elif isinstance(value, dict):
        items = value.values()
    elif isinstance(value, (list, tuple)):
        items = value
    else:
        return
    for item in items:
        if not isinstance(item, PLAIN):
            yield from files_in(item)


def _kind(value: Any) -> str:
    of_file = isinstance(value, (str, FileWeights)) or (
        isinstance(value, dict) and ("file" in value or "name" in value)
    )
    return "file" if of_file else "run"


Weights = Annotated[Annotated[RunWeights, Tag("run")] | Annotated[FileWeights, Tag("file")], Discriminator(_kind)]
