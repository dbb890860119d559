"""The log of a phase, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from artifacts import store_artifact

from mimflow.artifacts.log import GrowingLog, read_growing, read_log, write_log
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


def text_of(log: GrowingLog) -> str:
    return log.path.read_text(encoding="utf-8")


def test_a_log_grows_by_a_line_and_is_written_anew_for_a_new_column(tmp_path: Path) -> None:
    log = GrowingLog(tmp_path / "log.csv")
    log.begin([], 0)
    log.add({"step": 2, "epoch": 0.5, "lr": 0.1, "loss": 3.0}, seconds=1.5, kept=True)
    log.add({"step": 3, "epoch": 0.75, "lr": 0.1, "loss": 2.5}, seconds=31.5, kept=False)
    assert text_of(log) == "step,epoch,lr,loss,seconds,kept\n2,0.5,0.1,3,1.5,1\n3,0.75,0.1,2.5,31.5,0\n"
    log.add({"step": 4, "epoch": 1, "lr": 0.1, "loss": 2.0, "val_loss": 2.25}, seconds=32.0, kept=True)
    assert text_of(log).splitlines() == [
        "step,epoch,lr,loss,seconds,kept,val_loss",
        "2,0.5,0.1,3,1.5,1,",
        "3,0.75,0.1,2.5,31.5,0,",
        "4,1,0.1,2,32,1,2.25",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_log_goes_on_behind_a_checkpoint_without_what_came_after_it(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    head = "step,loss,seconds,kept\n"
    path.write_text(f"{head}2,3,1,1\n3,2.5,31,0\n6,1,40,1\n7,0.5,41,", encoding="utf-8")
    log = GrowingLog(path)
    log.begin([{"step": 2, "loss": 3.0}, {"step": 4, "loss": 2.0}], 5)  # the row of step 4 had not been written
    assert text_of(log) == f"{head}2,3,1,1\n3,2.5,31,0\n4,2,,1\n"
    log.add({"step": 6, "loss": 1.25}, seconds=42.0, kept=True)
    assert read_growing(path)[-1] == {"step": 6.0, "loss": 1.25, "seconds": 42.0, "kept": 1.0}


def test_a_log_that_can_not_be_written_stops_nobody_and_is_whole_when_it_can(tmp_path: Path) -> None:
    log = GrowingLog(tmp_path / "gone" / "log.csv")
    log.begin([], 0)
    log.add({"step": 1, "loss": 3.0}, seconds=1.0, kept=True)
    log.path.parent.mkdir()
    log.add({"step": 2, "loss": 2.0}, seconds=2.0, kept=True)
    assert [row["step"] for row in read_growing(log.path)] == [1, 2]


@pytest.mark.parametrize("data", [None, b"", b"\xff\xfe\n", b"loss\n1\n", b"step,loss\none,2\n1,2,3\n"])
def test_a_log_that_is_none_has_no_rows(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "log.csv").write_bytes(data)
    assert read_growing(tmp_path / "log.csv") == []
