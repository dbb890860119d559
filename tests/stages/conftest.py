"""A folder of images, for the tests of the prepare stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from preparing import write_crops


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes, 9 images each in train and 3 in val."""
    root = tmp_path / "photographs"
    write_crops(root)
    return root
