"""The README's specs are true: written out as it says, they validate and plan."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from projects import REPOSITORY

from mimflow.products.registry import open_plan


def test_the_specs_of_the_readme_validate_and_plan(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "specs", tmp_path / "specs")
    blocks = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names = ("ablations/width", "tables/width", "mini/wide", "datasets/flowers", "ablations/noise")
    for name, block in zip(names, blocks, strict=True):
        (tmp_path / "specs" / f"{name}.yaml").write_text(block, encoding="utf-8")
    table = tmp_path / "specs/tables/table1.yaml"
    rows = "  - run: tarflow-mnist5k\n"
    table.write_text(table.read_text().replace(rows, f"{rows}  - run: wide\n  - ablation: noise\n"))
    plan = open_plan(tmp_path)
    shown = [row.run for row in plan.products["table1"].rows]
    assert shown == [
        "gaussian-mnist5k",
        "tarflow-mnist5k",
        "wide",
        "noise-std-0-1",
        "noise-std-0-2",
        "noise-std-0-3",
        "mimflow-mnist5k",
    ]
    assert len([job for job in plan.jobs.values() if job.name.startswith("wide.main.")]) == 3
    assert [row.run for row in plan.products["width"].rows] == ["width-width-32", "width-width-64", "width-width-96"]
