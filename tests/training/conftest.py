"""Tiny data and a whole tiny training, for the tests of training."""

from __future__ import annotations

import pytest
from training_parts import results, tiny_data, tiny_task, train_tiny

from mimflow.artifacts.manifest import Artifact


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("training") / "data")


@pytest.fixture(scope="module")
def uninterrupted(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the tiny job writes when nothing stops it."""
    work = tmp_path_factory.mktemp("uninterrupted")
    train_tiny(tiny_task(), data, work)
    return results(work)
