"""A template may be somebody else's: it runs in a sandbox and reads no file but templates beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables_project import edit, make_project, render, use_template

from mimflow.errors import SpecError
from mimflow.products.registry import open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.fault("templates")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    make_project(project)
    return project


ATTACKS = {
    "a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a function": "{{ lipsum.__globals__['os'].popen('touch attacked').read() }}",
    "globals by a filter": "{{ (lipsum | attr('__globals__'))['os'] }}",
    "an object of ours": "{{ table.__init__.__globals__ }}",
    "a file beside it": "{% include 'secret.txt' %}",
    "a link beside it": "{% include 'link.j2' %}",
    "a file above": "{% include '../specs/tables/t.yaml' %}",
    "an absolute path": "{% include '/etc/passwd' %}",
    "an import": "{% import 'secret.txt' as s %}{{ s }}",
    "a change of what it is given": "{{ [].append(1) }}",
    "a range without end": "{% for i in range(10**12) %}{% endfor %}",
}


@pytest.mark.parametrize("case", ATTACKS)
def test_an_attack_is_a_line(project: Path, case: str) -> None:
    use_template(project, ATTACKS[case])
    (project / "templates/secret.txt").write_text("secret")
    (project / "elsewhere").write_text("secret")
    (project / "templates/link.j2").symlink_to(project / "elsewhere")
    with pytest.raises(SpecError, match=r"^templates/mine\.md\.j2:1: template of table 't': \S") as caught:
        render(project)
    assert "\n" not in str(caught.value) and not (project / "attacked").exists()


def test_templates_include_those_beside_them(project: Path) -> None:
    use_template(project, "{% include 'part.md.j2' %}{% include 'table.md.j2' %}")
    (project / "templates/part.md.j2").write_text("a part\n")
    assert render(project).startswith("a part\n")


@pytest.mark.parametrize("path", ["../outside.j2", "templates/link.j2"])
def test_a_template_outside_of_the_project(project: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.parent / "outside.j2").write_text("outside")
    (project / "templates").mkdir()
    (project / "templates/link.j2").symlink_to(project.parent / "outside.j2")
    edit(project, "tables/t", "notes:", f"template: {path}\nnotes:")
    assert open_workspace(project).problems == [
        f"specs/tables/t.yaml:10:11: template: {path} lies outside of the project "
        "(copy it, or name its folder in MIMFLOW_OUTSIDE)"
    ]
    monkeypatch.setenv("MIMFLOW_OUTSIDE", str(project.parent))
    assert open_workspace(project).problems == [] and render(project) == "outside"
