"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Tests run side by side with what they start; one thread each keeps them from waiting for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from projects import new_project, snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose table has been made from nothing by Snakemake. Tests copy it; none changes it."""
    project = new_project(tmp_path_factory.mktemp("finished") / "project")
    snakemake(project)
    return project
