"""The log of a phase, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from artifacts import store_artifact

from mimflow.artifacts.log import read_log, write_log
from mimflow.errors import ArtifactError

ROWS = [{"nll": 3.0, "loss": 1.5, "step": 1}, {"step": 2, "loss": 1 / 3, "critic_loss": 1e-7, "nll": -2.0}]
TEXT = "step,loss,nll,critic_loss\n1,1.5,3,\n2,0.33333333,-2,1e-07\n"


def test_a_log_has_a_column_a_figure_with_eight_digits(tmp_path: Path) -> None:
    write_log(tmp_path, ROWS)
    assert (tmp_path / "log.csv").read_text(encoding="utf-8") == TEXT


def test_rows_are_read_back_with_the_figures_that_they_have(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(TEXT, encoding="utf-8")
    assert read_log(store_artifact(tmp_path, stage="train", name="tiny")) == [
        {"step": 1.0, "loss": 1.5, "nll": 3.0},
        {"step": 2.0, "loss": 0.33333333, "nll": -2.0, "critic_loss": 1e-7},
    ]


@pytest.mark.parametrize("text", ["step\none\n", "step\n1,2\n"])
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"log\.csv: not a log: .* \(delete .* and run again\)"):
        read_log(store_artifact(tmp_path, stage="train", name="tiny"))
