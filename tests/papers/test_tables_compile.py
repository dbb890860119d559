"""The TeX of every shipped table compiles, with labels that are made of TeX's own characters."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from projects import REPOSITORY

from mimflow.products.registry import open_plan
from mimflow.products.table.collect import collect
from mimflow.products.table.model import Table
from mimflow.products.table.product import TableProduct
from mimflow.products.table.templating import render_own

ENGINES = {
    "pdflatex": ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"],
    "tectonic": ["tectonic", "--chatter", "minimal"],
}
HOSTILE = r"_ & % < $ # ~ ^ { } \ \input{x} [2em] * <script>alert(1)</script> 中 σ²"


def adverse(table: Table) -> Table:
    """The table with a title, labels of rows and a note that TeX would take for commands."""
    rows = tuple(replace(row, label=f"{HOSTILE} {row.label}") for row in table.measured.rows)
    measured = replace(table.measured, rows=rows)
    return replace(table, title=f"{HOSTILE} {table.title}", measured=measured, notes=(*table.notes, HOSTILE))


@pytest.mark.slow
def test_every_shipped_table_compiles_with_adverse_labels(tmp_path: Path) -> None:
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        pytest.skip("neither pdflatex nor tectonic is on the PATH")
    tables = [each for each in open_plan(REPOSITORY).products.values() if isinstance(each, TableProduct)]
    assert len(tables) > 50
    for table in tables:
        text = render_own(adverse(collect(table)), "tex")
        assert r"\textbackslash{}input\{x\}" in text
        (tmp_path / f"{table.name}.tex").write_text(text, encoding="utf-8")
    inputs = "\n\\clearpage\n".join(rf"\input{{{table.name}}}" for table in tables)
    document = "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", inputs, r"\end{document}", ""]
    )
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    done = subprocess.run([*ENGINES[engine], "all.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
