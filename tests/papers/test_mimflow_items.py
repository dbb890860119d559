"""MIMFlow's items at the paper's scale: the ablations of its twin, with another base."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from projects import REPOSITORY

from mimflow.products.registry import open_plan

pytestmark = pytest.mark.slow

ABLATIONS = ("mask", "noise", "supervision", "phases", "attention", "guidance", "weight", "decoder-fixed")
"""Those that say nothing of sizes. Of sizes the paper's run has ablations of its own: `mimflow-l-tokens`."""


def test_ablations_of_the_twin_are_those_of_the_papers_run_with_another_base(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "specs", tmp_path / "specs")
    for name in ABLATIONS:
        text = (REPOSITORY / f"specs/ablations/mimflow-{name}.yaml").read_text(encoding="utf-8")
        assert text.count("run: mimflow-digits") == 1
        (tmp_path / f"specs/ablations/paper-{name}.yaml").write_text(
            text.replace("run: mimflow-digits", "run: mimflow-l"), encoding="utf-8"
        )
    workspace = open_plan(tmp_path).workspace
    assert workspace.problems == []
    joint = workspace.runs["paper-supervision-none-whole"].spec.phases["joint"].objective
    assert (joint.masked, joint.alignment, joint.auxiliary) == (False, [], [])
    unmasked = workspace.runs["paper-mask-none"].spec.phases["joint"].objective
    assert [decoder.mask_only for decoder in unmasked.auxiliary] == [False, False]
