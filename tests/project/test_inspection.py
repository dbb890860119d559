"""What is printed of a spec."""

from __future__ import annotations

from pathlib import Path

from specs_project import DATASET, write

from mimflow.project.inspection import explain
from mimflow.project.workspace import Workspace


def test_what_comes_along_is_named_the_same_wherever_it_is_installed(tmp_path: Path) -> None:
    write(tmp_path, "datasets/digits", DATASET)
    write(
        tmp_path,
        "mini/mine",
        "extends: tarflow-mnist5k\ndataset: digits\ntokenizer: {patch_size: 2}\ntwin_of: null\ndeviations: null\n",
    )
    lines = [line.split() for line in explain(Workspace(tmp_path), "mine").splitlines()]
    assert ["patch_size:", "2", "#", "specs/mini/mine.yaml:3"] in lines
    assert ["width:", "128", "#", "mimflow/shipped/specs/mini/tarflow-mnist5k.yaml:7"] in lines
    assert ["kind:", '"tarflow"', "#", "mimflow/shipped/specs/systems/tarflow-imagenet64-cond.yaml:13"] in lines
