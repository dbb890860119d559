"""The page of metrics that ships: it is current, and leaves nothing out."""

from __future__ import annotations

from projects import REPOSITORY

from mimflow.metrics.registry import METRICS
from mimflow.project.metrics_page import metrics_page
from mimflow.project.schemas import field_docs

PAGE = (REPOSITORY / "docs/metrics.md").read_text(encoding="utf-8")


def test_the_page_that_ships_is_current() -> None:
    assert metrics_page() == PAGE, "run `mimflow metrics`"


def test_every_metric_has_a_source_and_every_field_a_meaning() -> None:
    for kind in METRICS:
        spec = METRICS.spec(kind)
        assert spec.source, f"{spec.__name__}.source: where it was published"  # type: ignore[attr-defined]
        described = {name for base in spec.__mro__ for name, _ in field_docs(base)}
        assert set(spec.model_fields) - {"kind"} <= described


def test_the_page_has_a_section_of_each_with_its_formula_and_defaults() -> None:
    sections = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
    assert list(sections) == list(METRICS)
    assert "|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)" in sections["fid"]
    assert "rFID of reconstructions" in sections["fid"]
    assert "| `subset_size` | `1000` | Images in a subset" in sections["kid"]
    assert "| `psnr` | PSNR | higher | dB | 2 |" in sections["psnr"]
    assert "| `vgg` | required |" in sections["lpips_vgg"]
