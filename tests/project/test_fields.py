"""The reference of fields, and the site that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import REPOSITORY, command

from mimflow.products.registry import PRODUCTS
from mimflow.project.fields import page, reference
from mimflow.project.workspace import KINDS


def test_a_page_says_of_each_field_type_default_and_meaning() -> None:
    (ablation,) = [kind for kind in KINDS if kind.name == "ablation"]
    lines = page(ablation).splitlines()
    assert lines[0] == "# ablation"
    assert lines[2] == "Specs of this kind lie in `specs/ablations/`."
    assert "| `run` | string | required | The run that is varied. |" in lines
    assert any(
        line.startswith("| `variants` | list of [Variant](#variant) | `null` | Variants by name") for line in lines
    )
    assert "## Variant {#variant}" in lines


def test_parts_are_found_by_their_kinds() -> None:
    (run,) = [kind for kind in KINDS if kind.name == "run"]
    text = page(run)
    assert "## kind: tarflow (TarflowSpec) {#tarflowspec}" in text
    assert "| `width` | integer ≥ 1 ≤ 1e+09 | required | Width of the transformers. |" in text
    assert "| `objective` | [autoencoder](#autoencoderspec) or [cross_entropy](#crossentropyspec) or " in text


def test_links_lead_to_parts_of_the_page() -> None:
    for name, text in reference((*KINDS, *PRODUCTS)):
        anchors = set(re.findall(r"\{#([^}]*)\}", text))
        assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors, name
        assert all(line.count("|") - line.count("\\|") == 5 for line in text.splitlines() if line.startswith("| `"))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command(REPOSITORY, "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site"))
    assert (tmp_path / "site/fields/run/index.html").is_file() or (tmp_path / "site/fields/run.html").is_file()
