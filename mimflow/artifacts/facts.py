"""Facts of artifacts: frozen dataclasses, written to a manifest as plain data and read back with their types."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from mimflow.artifacts.manifest import MANIFEST, Artifact
from mimflow.errors import ArtifactError

Facts = TypeVar("Facts")
"""A dataclass of one artifact: `DataFacts`, `TrainFacts`, …"""


def plain(facts: Any) -> dict[str, Any]:
    """A dataclass of facts as data for JSON; a field that has its default is left out.

    Raises PydanticSerializationError for a value that is not of its field's type.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(type(facts))
    data: dict[str, Any] = adapter.dump_python(facts, mode="json", exclude_defaults=True, warnings="error")
    return data


def read_facts(artifact: Artifact, kind: type[Facts]) -> Facts:
    """An artifact's facts. ArtifactError if a field is missing or of another type; fields beside them may be there."""
    try:
        # From JSON, because only there a list may strictly be a tuple and a mapping a dataclass.
        facts = TypeAdapter(kind).validate_json(json.dumps(artifact.manifest.facts), strict=True)
    except ValidationError as error:
        problems = "; ".join(
            f"facts.{'.'.join(map(str, problem['loc']))}: {_message(problem['type'], problem['msg'])}"
            for problem in error.errors()
        )
        raise ArtifactError(
            f"{artifact.folder / MANIFEST}: {problems} (delete {artifact.folder} and run again)"
        ) from error
    return facts


def _message(kind: str, text: str) -> str:
    return "missing" if kind == "missing" else text[:1].lower() + text[1:]
