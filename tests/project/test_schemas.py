"""What somebody learns who checks a spec by its schema alone: the field that is wrong, wherever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from projects import REPOSITORY

from mimflow.spec.reader import read

SCHEMAS = {
    name: json.loads((REPOSITORY / f"specs/schemas/{name}.json").read_text(encoding="utf-8"))
    for name in ("run", "ablation", "table")
}


def run() -> Any:
    return read(Path(REPOSITORY / "tests/tiny/specs/mini/tarflow.yaml"), "x").plain()


def told(kind: str, spec: Any) -> list[tuple[str, str]]:
    """Where each error is, and what it says, as plain `jsonschema` has it."""
    found = jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(spec)
    return [(".".join(map(str, error.absolute_path)), error.message) for error in found]


def at(spec: Any, path: str, value: Any) -> Any:
    """The same with another value somewhere."""
    *steps, last = path.split(".")
    inner = spec
    for step in steps:
        inner = inner[step]
    inner[last] = value
    return spec


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        ("prior.kind", "tarflo", "prior.kind", "'tarflo' is not one of ['class_gaussian', 'itarflow', "),
        ("prior.widht", 1, "prior", "Additional properties are not allowed ('widht' was unexpected)"),
        ("prior.width", "wide", "prior.width", "'wide' is not of type 'integer'"),
        ("phases.main.objective.noise.std", -1, "phases.main.objective.noise.std", "-1 is less than or equal to the minimum of 0"),
        ("phases.main.ema", 2, "phases.main.ema", "2 is greater than or equal to the maximum of 1"),
        ("outputs.guided.guidance.weigth", 1, "outputs.guided.guidance", "Additional properties are not allowed ('weigth' was unexpected)"),
        ("colour", 1, "", "Additional properties are not allowed ('colour' was unexpected)"),
    ],
)  # fmt: skip
def test_an_error_is_at_the_field_and_there_is_no_other(path: str, value: Any, where: str, words: str) -> None:
    assert told("run", run()) == []
    (found,) = told("run", at(run(), path, value))
    assert found[0] == where and found[1].startswith(words)


@pytest.mark.parametrize(
    ("spec", "where", "words"),
    [
        ({"prior": {"widht": 1}}, "prior", "Additional properties are not allowed ('widht' was unexpected)"),
        ({"prior": {"kind": "sit", "blocks": [1]}}, "prior", "Additional properties are not allowed ('blocks' was unexpected)"),
        ({"overrides": {"prior.widht": 1}}, "overrides", "'prior.widht' does not match "),
        ({"overrides": {"phases.main.lr": 1}}, "overrides", "'phases.main.lr' does not match "),
    ],
)  # fmt: skip
def test_of_a_spec_that_extends_another_what_it_says_is_checked(spec: Any, where: str, words: str) -> None:
    (found,) = told("run", {"extends": "tarflow.yaml", **spec})
    assert found[0] == where and found[1].startswith(words)


@pytest.mark.parametrize(
    "spec",
    [
        {"prior": {"width": 3}, "overrides": {"prior.width": 64, "phases.main.objective.noise.std": 0.1}},
        {"overrides": {"phases.main.objective.alignment.0.weight": 1.0, "seeds": [1]}},
        {"phases": {"main": None}, "twin_of": None, "deviations": None},
        {"prior": {"width": "${prior.head_width}"}},
    ],
)
def test_what_validation_takes_a_schema_takes(spec: Any) -> None:
    assert told("run", {"extends": "tarflow.yaml", **spec}) == []


def test_an_ablation_varies_fields_that_runs_have() -> None:
    std = "phases.main.objective.noise.std"
    assert told("ablation", {"run": "a", "grid": {std: [0.1], "outputs.guided.denoise.std": [f"${{{std}}}"]}}) == []
    (found,) = told("ablation", {"run": "a", "grid": {"phases.main.objective.noise.sdt": [0.1]}})
    assert found[0] == "grid" and found[1].startswith("'phases.main.objective.noise.sdt' does not match ")
    (found,) = told("ablation", {"run": "a", "variants": [{"name": "b", "overrides": {"prior.widht": 1}}]})
    assert found[0] == "variants.0.overrides" and found[1].startswith("'prior.widht' does not match ")
