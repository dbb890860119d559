"""Facts: dataclasses on their way into a manifest and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from artifacts import rewrite_manifest, store_artifact
from pydantic_core import PydanticSerializationError

from mimflow.artifacts.facts import plain, read_facts
from mimflow.artifacts.manifest import MANIFEST, Artifact
from mimflow.errors import ArtifactError


@dataclass(frozen=True)
class Bad:
    name: str


@dataclass(frozen=True)
class Facts:
    count: int
    seconds: float
    figures: dict[str, float | None]
    bad: list[Bad] = field(default_factory=list)
    speed: float | None = None


FACTS = Facts(3, 1.5, {"loss": 0.25, "nll": None}, [Bad("a.png")])
DATA = {"count": 3, "seconds": 1.5, "figures": {"loss": 0.25, "nll": None}, "bad": [{"name": "a.png"}]}


def stored(folder: Path, data: dict[str, Any]) -> Artifact:
    """An artifact whose manifest has these facts, whoever wrote them."""
    store_artifact(folder, stage="train", name="tiny")
    rewrite_manifest(folder / MANIFEST, facts=data)
    return Artifact.open(folder)


def test_facts_are_plain_data_without_what_is_by_default() -> None:
    assert plain(FACTS) == DATA
    assert plain(Facts(3, 1.5, {}, [], 2.0)) == {"count": 3, "seconds": 1.5, "figures": {}, "speed": 2.0}


def test_a_value_of_another_type_is_not_written() -> None:
    with pytest.raises(PydanticSerializationError):
        plain(Facts("three", 1.5, {}))  # type: ignore[arg-type]


def test_facts_are_read_back(tmp_path: Path) -> None:
    assert read_facts(store_artifact(tmp_path, stage="train", name="tiny", facts=FACTS), Facts) == FACTS
    assert read_facts(stored(tmp_path, DATA | {"more": 1}), Facts) == FACTS


@pytest.mark.fault("manifests")
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"seconds": 1.5, "figures": {}}, "facts.count: missing"),
        (DATA | {"count": "3"}, "facts.count: input should be a valid integer"),
        (DATA | {"figures": {"loss": "low"}}, "facts.figures.loss: input should be a valid number"),
        (DATA | {"bad": [{}]}, "facts.bad.0.name: missing"),
    ],
)
def test_facts_that_are_missing_or_of_another_type_are_named(tmp_path: Path, data: dict, problem: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_facts(stored(tmp_path, data), Facts)
    assert str(caught.value) == f"{tmp_path / MANIFEST}: {problem} (delete {tmp_path} and run again)"
