"""The log of a phase on disk: `log.csv`, a row for a fixed number of steps.

While a phase is trained, a log of the same name grows in the attempt's folder, for those who watch. It has two columns
more, `seconds` and `kept`, and rows by time between those that the finished log will have: what an artifact holds
depends on no clock.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from mimflow.artifacts.manifest import Artifact, write_text
from mimflow.errors import ArtifactError

LOG = "log.csv"
LEADING = ("step", "epoch", "lr", "loss")
"""The columns that come first."""
VALIDATION = "val_"
"""What the names of figures on the validation split begin with: `val_loss`. Rows without a validation have none."""
SECONDS = "seconds"
"""Of a log that grows: seconds of training, those of earlier attempts included."""
KEPT = "kept"
"""Of a log that grows: 1 in rows that the finished log has too, 0 in rows by time."""


def log_text(rows: Sequence[Mapping[str, float]]) -> str:
    """All rows as CSV, with a header; a figure that a row does not have is empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in LEADING if name in names] + [name for name in names if name not in LEADING]
    return _text(columns, rows, head=True)


def _text(columns: Sequence[str], rows: Sequence[Mapping[str, float]], head: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if head:
        writer.writeheader()
    writer.writerows({name: f"{value:.8g}" for name, value in row.items()} for row in rows)
    return text.getvalue()


def write_log(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the rows below `folder`."""
    write_text(folder / LOG, log_text(rows))


def read_log(artifact: Artifact) -> list[dict[str, float]]:
    """The rows, each with the figures that it has, the file verified; ArtifactError if it holds something else."""
    path = artifact.file(LOG)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ArtifactError(f"{path}: not a log: {error} (delete {artifact.folder} and run again)") from error


class GrowingLog:
    """A log at `path` that a row is added to whenever there is one; a disk that is full does not stop anybody for it.

    The file is written anew where a row has a column that none before it had, and else grows by a line.
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows: list[Mapping[str, float]] = []
        self._columns: list[str] = []

    def begin(self, rows: Sequence[Mapping[str, float]], step: int) -> None:
        """Go on behind `step`: what an earlier process has written up to there stays, and nothing after it.

        Of `rows`, which are to be kept, those that are not there are put in.
        """
        before = [row for row in read_growing(self.path) if row["step"] <= step]
        there = {row["step"] for row in before if row.get(KEPT)}
        missing = [{**row, KEPT: 1.0} for row in rows if row["step"] not in there]
        self._rows = sorted([*before, *missing], key=lambda row: row["step"])
        self._write_all()

    def add(self, row: Mapping[str, float], seconds: float, kept: bool) -> None:
        """Write down a row that was made after so many seconds of training."""
        self._rows.append({**row, SECONDS: seconds, KEPT: float(kept)})
        if not self._rows[-1].keys() <= set(self._columns):
            self._write_all()
            return
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(_text(self._columns, self._rows[-1:], head=False))
        except OSError:
            self._columns = []  # the line may be cut off: all is written when the next row comes

    def _write_all(self) -> None:
        text = log_text(self._rows)
        # A name that begins with a dot is swept away where a killed process has left it.
        temporary = self.path.with_name(f".{self.path.name}")
        self._columns = []
        with suppress(OSError):
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)
            self._columns = text.partition("\n")[0].split(",")


def read_growing(path: Path) -> list[dict[str, float]]:
    """The rows of a log that grows; a line that is cut off, or no row, is left out; none where there is no file."""
    try:
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        return list(_rows(csv.reader(whole.splitlines())))
    except (OSError, ValueError, csv.Error):
        return []


def _rows(lines: Iterator[list[str]]) -> Iterator[dict[str, float]]:
    columns = next(lines, [])
    for line in lines:
        if len(line) != len(columns):
            continue
        with suppress(ValueError):
            row = {name: float(value) for name, value in zip(columns, line, strict=True) if value}
            if "step" in row:
                yield row
