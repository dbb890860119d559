"""`dvc.yaml` and `rule all`: both follow the products that say `by_default: true`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from projects import REPOSITORY
from tables_project import TABLE, make_project

from mimflow.products.dvc import dvc_yaml
from mimflow.products.registry import open_plan
from mimflow.workflow import Workflow


def outs_of(text: str) -> list[str]:
    """The rendered files that DVC is to keep, without the store's folders."""
    outs = [next(iter(out)) for out in yaml.safe_load(text)["stages"]["products"]["outs"]]
    return [out for out in outs if not out.startswith("results/store/")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two tables, of which none is made by default."""
    make_project(tmp_path)
    (tmp_path / "specs/tables/second.yaml").write_text(TABLE, encoding="utf-8")
    return tmp_path


def by_default(project: Path, *tables: str) -> None:
    for name in tables:
        path = project / f"specs/tables/{name}.yaml"
        path.write_text("by_default: true\n" + path.read_text(encoding="utf-8"), encoding="utf-8")


def test_dvc_yaml_of_this_repository_is_what_mimflow_dvc_writes() -> None:
    assert (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8") == dvc_yaml(open_plan(REPOSITORY))


@pytest.mark.parametrize("tables", [[], ["t"], ["second"], ["second", "t"]])
def test_what_is_made_by_default_is_what_its_specs_say(project: Path, tables: list[str]) -> None:
    by_default(project, *tables)
    plan = open_plan(project)
    suffixes = ("md", "tex", "csv", "html", "json", "png", "manifest.json")
    assert outs_of(dvc_yaml(plan)) == [f"results/{name}.{suffix}" for name in sorted(tables) for suffix in suffixes]
    assert Workflow(plan, main_process=False).default_targets() == [f"results/{name}.md" for name in sorted(tables)]
