"""Nothing that is read is run: what a pickle holds is tensors, or it is refused."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mimflow
from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError
from mimflow.features.networks import build_network
from mimflow.features.spec import TimmVitSpec
from mimflow.weights.tensors import read_tensors

pytestmark = [pytest.mark.slow, pytest.mark.fault("code in files")]

PACKAGE = Path(mimflow.__file__).parent
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
GIVEN = {"torch.load": ("weights_only", True), "load_state_dict": ("weights_only", True)}
"""Functions that unpickle, and the argument that keeps them to tensors. timm's, not a module's own method."""


class Malicious:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package: what is called, as it is written, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def test_every_call_that_can_unpickle_is_kept_to_tensors() -> None:
    found = []
    for place, call in calls():
        name = ast.unparse(call.func)
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert arguments.get("allow_pickle", "False") == "False", place
        assert "unpickle" not in name and not name.endswith("_cached"), place
        if name in GIVEN:
            argument, wanted = GIVEN[name]
            assert arguments.get(argument) == str(wanted), place
            found.append(name)
    assert set(found) == set(GIVEN)


def test_no_module_imports_what_unpickles() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not UNSAFE & {name.partition(".")[0] for name in names}, path


def test_weights_that_hold_code_are_refused_unexecuted(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "executed"
    torch.save(Malicious(trace), path)
    with pytest.raises(ArtifactError, match="not a checkpoint of tensors"):
        read_tensors(path)
    assert not trace.exists()


def test_a_frozen_network_that_holds_code_is_refused_unexecuted(tmp_path: Path) -> None:
    path, trace = tmp_path / "vit.pth", tmp_path / "executed"
    torch.save(Malicious(trace), path)
    weights = {"file": str(path), "sha256": sha256_of(path)}
    fields = {"architecture": "test_vit", "weights": weights, "width": 64, "patch_size": 16, "input_size": 160}
    with pytest.raises(ArtifactError) as caught:
        build_network(TimmVitSpec.model_validate(fields))
    assert str(caught.value) == f"{path}: not weights of test_vit: it holds more than tensors"
    assert not trace.exists()
