"""What keys are made of is pinned in two files of short lines, so that a review shows what a change moves.

`MIMFLOW_GOLDEN=1 pytest tests/papers/test_golden.py` writes both anew. A key that changes retrains what people have:
do that only when it is meant.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from projects import REPOSITORY

from mimflow.artifacts.manifest import canonical
from mimflow.plan.jobs import KEY_LENGTH
from mimflow.products.registry import open_plan
from mimflow.project.protocol import ProtocolSpec
from mimflow.spec.base import Spec
from mimflow.spec.registry import Registry
from mimflow.tasks import Task, TrainTask

RECORDINGS = REPOSITORY / "tests/recordings"


def compare(name: str, lines: list[str]) -> None:
    """Fail with the lines that differ from a recording, or record them."""
    file = RECORDINGS / name
    if os.environ.get("MIMFLOW_GOLDEN"):
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert lines == file.read_text(encoding="utf-8").splitlines()


def inside(annotation: Any) -> Iterator[type[Spec]]:
    """The spec classes that values of an annotation may have; a registry's members for its axis."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        registries = [mark for mark in marks if isinstance(mark, Registry)]
        for registry in registries:
            yield from (registry.spec(kind) for kind in registry)
        if not registries:
            yield from inside(inner)
    elif isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from inside(part)


def reached(cls: type[Spec], found: dict[str, type[Spec]]) -> dict[str, type[Spec]]:
    """A spec class and all that its fields may hold, by name."""
    if cls.__name__ not in found:
        found[cls.__name__] = cls
        for name, field in cls.model_fields.items():
            if name not in cls.outside_key:
                for part in inside(Annotated[field.annotation, *field.metadata, ""]):
                    reached(part, found)
    return found


def shown(value: Any) -> str:
    """A default in a few words: of a spec what was said of it, since its class has lines of its own."""
    if isinstance(value, Spec):
        said = [
            f"{name}={shown(getattr(value, name))}"
            for name in type(value).model_fields
            if name in value.model_fields_set
        ]
        return f"{type(value).__name__}({', '.join(said)})"
    return json.dumps(value, ensure_ascii=False)


def lines_of(cls: type[Spec]) -> Iterator[str]:
    """A line for each field that enters a key."""
    if issubclass(cls, Task):
        yield f"{cls.__name__}.version = {cls.version}"
    for name, field in cls.model_fields.items():
        if name not in cls.outside_key:
            default = "required" if field.is_required() else f"= {shown(field.get_default(call_default_factory=True))}"
            yield f"{cls.__name__}.{name} {default}"


def short(content: Any) -> str:
    """The digits of a key that paths show."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:KEY_LENGTH]


def test_fields_and_defaults_are_pinned() -> None:
    found: dict[str, type[Spec]] = {}
    for cls in (*Task.__subclasses__(), ProtocolSpec):
        reached(cls, found)
    compare("defaults.txt", [line for name in sorted(found) for line in lines_of(found[name])])


def test_a_key_of_every_run_and_protocol_is_pinned() -> None:
    """Of a run the key of its last phase with its first seed, which all that comes before enters; of one without
    training what its weights are.
    """
    plan = open_plan(REPOSITORY)
    lines = []
    for name, loaded in sorted(plan.workspace.runs.items()):
        run = loaded.spec
        if run.last_phase is None:
            given = [weights.identity() for weights in run.weights or []]
            lines.append(f"run {name} {short([run.system.identity(), given])}")
            continue
        trained = plan.train(name, run.last_phase, run.seeds[0])
        lines.append(f"run {name} {trained.key[:KEY_LENGTH]}")
    for name, loaded in sorted(plan.workspace.protocols.items()):
        extractor = plan.extractor(loaded.spec)
        whole = [loaded.spec.identity(), plan.prepare(loaded.spec.dataset).key, extractor and extractor.key]
        lines.append(f"protocol {name} {short(whole)}")
    compare("keys.txt", lines)


def test_what_tasks_hold_is_reached_through_registries_and_unions() -> None:
    lines = [line for cls in reached(TrainTask, {}).values() for line in lines_of(cls)]
    assert {"TarflowSpec.head_width = 64", "Adamw.lr required", "Phase.clip = null"} <= set(lines)
    assert not [line for line in lines if line.startswith("Compute.device ")], "a device enters no key"
