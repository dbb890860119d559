"""The log of a phase on disk: `log.csv`, a row for a fixed number of steps."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from mimflow.artifacts.manifest import Artifact, write_text
from mimflow.errors import ArtifactError

LOG = "log.csv"
LEADING = ("step", "epoch", "lr", "loss")
"""The columns that come first."""


def log_text(rows: Sequence[Mapping[str, float]]) -> str:
    """All rows as CSV, with a header; a figure that a row does not have is empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in LEADING if name in names] + [name for name in names if name not in LEADING]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
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
