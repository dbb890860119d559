"""Tables whose texts have characters that not every reader can show, and tables of many rows."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tables_project import edit, make_project, plan_of, render

from mimflow.errors import StorageError
from mimflow.plan.freshness import render_reason
from mimflow.products.table.latex import latex
from mimflow.products.table.picture import Strip, picture

pytestmark = [pytest.mark.slow, pytest.mark.fault("tables")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


TEX = {
    "α Ω ε φ ς": r"$\alpha$ $\Omega$ $\varepsilon$ $\varphi$ $\varsigma$",
    "Α ο": r"$\mathrm{A}$ $\mathrm{o}$",
    "a → b ⇒ c ↦ d ← e": r"a $\rightarrow$ b $\Rightarrow$ c $\mapsto$ d $\leftarrow$ e",
    "f′ g″": r"f$^{\prime}$ g$^{\prime\prime}$",
    "10⁻³": r"10$^{-}$\textsuperscript{3}",
    "x₁ ₋ ⁺ ⁿ": r"x$_{1}$ $_{-}$ $^{+}$ $^{n}$",
    "∈ ∇ ‖v‖ · °": r"$\in$ $\nabla$ $\Vert$v$\Vert$ $\cdot$ $^{\circ}$",
    "é Å č ß “q” ‐": "é Å č ß “q” -",
    "中 🚀 д ŋ": r"\texttt{U+4E2D} \texttt{U+1F680} \texttt{U+0434} \texttt{U+014B}",
}


@pytest.mark.parametrize("text", TEX)
def test_tex_has_maths_for_symbols_and_codes_for_what_it_lacks(text: str) -> None:
    assert latex(text) == TEX[text]


def test_tex_names_what_it_lacks_below_the_table(project: Path) -> None:
    edit(project, "mini/tarflow", "label: TARFlow", "label: 扩散 TARFlow")
    render(project)
    lines = (project / "results/t.tex").read_text(encoding="utf-8").splitlines()
    assert any(r"\texttt{U+6269}\texttt{U+6563} TARFlow" in line for line in lines)
    assert "% U+6269 is 扩, CJK UNIFIED IDEOGRAPH-6269: no character of every TeX" in lines
    assert [line for line in lines if "扩" in line and not line.startswith("%")] == []


def test_csv_has_no_cell_that_a_spreadsheet_would_run(project: Path) -> None:
    edit(project, "mini/tarflow", "label: TARFlow", "label: '=HYPERLINK(\"http://x\")'")
    render(project)
    rows = list(csv.reader(io.StringIO((project / "results/t.csv").read_text(encoding="utf-8"))))
    assert '\'=HYPERLINK("http://x")' in {row[0] for row in rows}
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "@")]


def strip(title: str) -> Strip:
    return Strip(title, np.full((20, 8, 8, 3), 7, np.uint8), 10)


def test_a_picture_of_many_rows_shows_the_first_and_says_how_many_there_are_more() -> None:
    with Image.open(io.BytesIO(picture([strip("x")] * 60, 440))) as png:
        counted = png.size
    with Image.open(io.BytesIO(picture([strip("x")] * 60))) as png:
        assert counted[1] == png.size[1] + 22 < 20_000
    with Image.open(io.BytesIO(picture([strip("x" * 10_000)]))) as png:
        assert png.size[0] < 2_000


def test_a_picture_of_a_table_with_more_rows_than_it_shows(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int]] = []
    monkeypatch.setattr("mimflow.products.table.render.STRIPS", 1)
    monkeypatch.setattr(
        "mimflow.products.table.render.picture",
        lambda strips, more: drawn.append((len(strips), more)) or picture(strips, more),
    )
    render(project)
    assert len(drawn) == 1 and drawn[0][0] == 1 and drawn[0][1] >= 1


def test_a_picture_names_what_its_font_lacks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib's: a glyph is missing
        assert picture([strip("扩散 σ")]) == picture([strip("[U+6269][U+6563] σ")])


def test_a_render_that_is_killed_between_its_files_is_done_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(project)
    edit(project, "tables/t", "Digits &", "Numerals &")
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.name == "t.csv":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        render(project)
    (project / "results/.t.t.csv").write_text("left by a killed process")
    assert render_reason(plan_of(project).product("t"))
    render(project)
    assert render_reason(plan_of(project).product("t")) == ""
    assert list((project / "results").glob(".*")) == []


def test_numbers_on_another_disk_are_rendered(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def same_disk(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", same_disk)
    render(project)
    assert (project / "results/metrics/t/gaussian.json").is_file()


def test_a_render_without_room_leaves_nothing_behind(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="can't write: No space left on device"):
        render(project)
    assert not (project / "results/t.md").exists()
