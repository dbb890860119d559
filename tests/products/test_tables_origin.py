"""Whether a table is fresh, its picture, and the way from a number to its origin."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from artifacts import rewrite_manifest
from PIL import Image
from tables_project import GOLDEN, drop, edit, make_project, masked, plan_of, put_metrics, render, use_template

from mimflow.artifacts.manifest import MANIFEST, read_manifest
from mimflow.artifacts.samples import write_samples
from mimflow.errors import ArtifactError, PlanError, StorageError
from mimflow.plan.freshness import render_reason
from mimflow.products.table.picture import Strip, picture, read_strip
from mimflow.products.table.why import why

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


# -- freshness -------------------------------------------------------------------------------------------------------


def reason(root: Path) -> str:
    plan = plan_of(root)
    return render_reason(plan.product("t"))


def test_rendered_table_is_fresh_until_something_changes(project: Path) -> None:
    assert reason(project) == "never rendered"
    render(project)
    assert reason(project) == ""
    edit(project, "tables/t", "- guided.fid", "- {output: guided, metrics: [{metric: fid, digits: 2}]}")
    assert reason(project).startswith('column guided.fid: guided.fid → {"metric": "fid", ')
    render(project)
    assert reason(project) == ""
    edit(project, "mini/tarflow", "label: TARFlow", "label: TARFlow, small")
    assert reason(project) == "label TARFlow removed; label TARFlow, small added"


@pytest.mark.fault("clocks")
def test_edit_by_hand_is_found(project: Path) -> None:
    render(project)
    file = project / "results/t.md"
    file.write_text(file.read_text(encoding="utf-8").replace("22.0", "12.0"), encoding="utf-8")
    assert reason(project) == "results/t.md was changed by hand"


def test_new_numbers_are_found(project: Path) -> None:
    render(project)
    put_metrics(
        project, plan_of(project).job("gaussian.s0.unguided.small"), {"fid": 1.0, "is": 2.0, "class_accuracy": 0.5}
    )
    assert reason(project) == "other numbers: gaussian.s0.unguided.small"


def test_changed_template_is_found(project: Path) -> None:
    use_template(project, "{{ table.title }}")
    render(project)
    (project / "templates/mine.md.j2").write_text("{{ table.name }}")
    assert reason(project) == "mine.md.j2 changed"


@pytest.mark.fault("interruptions")
def test_render_that_can_not_write_leaves_the_old_table(project: Path) -> None:
    old = render(project)
    edit(project, "tables/t", "Digits & 100 %", "Another title")
    shutil.rmtree(project / "results/metrics")
    (project / "results/metrics").write_text("in the way")
    with pytest.raises(StorageError, match="can't write"):
        render(project)
    assert (project / "results/t.md").read_text(encoding="utf-8") == old
    assert not list((project / "results").glob(".t.*"))


@pytest.mark.fault("manifests")
def test_a_manifest_changed_by_hand_is_no_source_of_numbers(project: Path) -> None:
    render(project)
    job = plan_of(project).job("gaussian.s0.unguided.small")
    manifest = project / job.manifest
    text = manifest.read_text(encoding="utf-8")
    assert "0.9731" in text
    manifest.write_text(text.replace("0.9731", "0.9999"), encoding="utf-8")
    assert reason(project).startswith(f"{manifest}: not as it was written")
    with pytest.raises(ArtifactError, match="not as it was written"):
        render(project)


@pytest.mark.fault("manifests")
def test_a_record_changed_by_hand_is_rendered_anew(project: Path) -> None:
    render(project)
    record = project / "results/t.manifest.json"
    text = record.read_text(encoding="utf-8")
    assert '"evaluations": 7' in text
    record.write_text(text.replace('"evaluations": 7', '"evaluations": 8'), encoding="utf-8")
    assert reason(project) == "its record is broken"
    render(project)
    assert reason(project) == ""


# -- the picture -----------------------------------------------------------------------------------------------------


def test_picture_shows_pixels_as_they_are(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(12, 8, 8, 3)).astype(np.uint8)
    labels = np.array([1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0])
    write_samples(tmp_path / "samples.npz", [images], labels, (8, 8, 3))
    strip = read_strip(tmp_path / "samples.npz", "$a_b$")
    order = [2, 0, 4, 1, 5, 3, 7, 6, 11, 8]  # class 0, class 1, class 0, …; five of class 0
    assert np.array_equal(strip.images, images[order])
    assert strip.across == 10
    data = picture([strip])
    assert data == picture([strip])
    with Image.open(io.BytesIO(data)) as png:
        pixels = np.asarray(png.convert("RGB"))
        assert not png.info.get("Software")
    top = 12 + 22
    for place, index in enumerate(order):
        left = 12 + place * (64 + 2)
        tile = pixels[top : top + 64, left : left + 64]
        assert np.array_equal(tile, images[index].repeat(8, axis=0).repeat(8, axis=1))


@pytest.mark.parametrize(
    ("classes", "images", "across"), [(1, 20, 10), (2, 20, 10), (3, 18, 9), (10, 20, 10), (15, 15, 8), (1000, 20, 10)]
)
def test_strip_has_the_same_number_of_each_class(tmp_path: Path, classes: int, images: int, across: int) -> None:
    labels = np.random.default_rng(0).permutation(np.arange(3000) % classes)
    pixels = (labels % 251).astype(np.uint8)[:, None, None, None]
    write_samples(tmp_path / "samples.npz", [pixels], labels, (1, 1, 1))
    strip = read_strip(tmp_path / "samples.npz", "")
    assert (len(strip.images), strip.across) == (images, across)
    shown = np.unique_counts(strip.images).counts
    assert len(shown) == min(classes, 20)
    assert len(set(shown.tolist())) == 1


def test_large_images_are_scaled_down() -> None:
    strip = Strip("large", np.full((1, 512, 512, 3), 7, np.uint8), 10)
    with Image.open(io.BytesIO(picture([strip]))) as png:
        pixels = np.asarray(png.convert("RGB"))
    assert int((pixels == 7).all(2).sum()) == 128 * 128


# -- why -------------------------------------------------------------------------------------------------------------


def trace(root: Path, row: str, column: str) -> str:
    plan = plan_of(root)
    return why(plan.product("t"), row, column)


def test_why(project: Path) -> None:
    text = masked(trace(project, "tarflow", "guided.fid")).split("  seed 1: ")[0]
    assert text == (GOLDEN / "why.txt").read_text(encoding="utf-8")


def test_why_says_what_is_missing(project: Path) -> None:
    drop(project, "tarflow.s2.unguided")
    drop(project, "tarflow.s1.guided.small")
    assert "  seed 1: not measured yet\n" in trace(project, "tarflow", "guided.fid")
    (line,) = [line for line in trace(project, "tarflow", "unguided.fid").splitlines() if "not in the store" in line]
    assert line == "      not in the store"
    assert "  seed 2: no value: features of 3 of 1500 samples are not finite\n" in trace(
        project, "tarflow", "guided.fid"
    )


@pytest.mark.parametrize(
    "column", ["guided.fid", "guided fid", "FID-1.5k guided", "With guidance (linear, weight 3), FID"]
)
def test_why_takes_a_column_by_many_names(project: Path, column: str) -> None:
    assert trace(project, "tarflow", column) == trace(project, "TARFlow", "guided.fid")


def test_why_lists_the_choices(project: Path) -> None:
    with pytest.raises(
        PlanError, match=r"'fid' is the name of several columns of table 't': unguided\.fid, guided\.fid$"
    ):
        trace(project, "tarflow", "fid")
    with pytest.raises(PlanError, match=r"no column 'kid' \(it has: parameters, epochs, unguided\.fid, "):
        trace(project, "tarflow", "kid")
    with pytest.raises(PlanError, match=r"no row 'tarflov' .*'tarflow'"):
        trace(project, "tarflov", "accuracy")


def test_why_of_a_published_number(project: Path) -> None:
    assert trace(project, "ours", "guided.fid") == (
        "FID, guided, of Ours: 2.5\n"
        "  published   Table 1\n"
        "  protocol    ImageNet 256×256, 50,000 samples\n"
        "  papers      A paper of ours, Table 1\n"
        "  transcribed specs/published/paper.yaml:12"
    )


def test_why_of_a_fact(project: Path) -> None:
    text = trace(project, "gaussian", "epochs")
    assert text.startswith("Epochs, of Gaussian & 100 % _simple_ #1: closed form\n  checkpoint ")
    assert "moments; in closed form" in text


def test_why_knows_when_the_code_has_changed(project: Path) -> None:
    job = plan_of(project).job("gaussian.s0.unguided.small")
    assert "code changed since" not in trace(project, "gaussian", "is")
    manifest = project / job.folder / MANIFEST
    rewrite_manifest(manifest, made=read_manifest(manifest).made | {"source": "0" * 64})
    assert trace(project, "gaussian", "is").count("code changed since") == 1
