"""Which project is meant."""

from __future__ import annotations

from pathlib import Path


def find_project(start: Path | str | None = None) -> Path:
    """The project that a folder, the working one if none is given, is or lies in: the first upwards that holds specs.

    Where none does it is that folder, and whoever opens it says so.
    """
    given = Path() if start is None else Path(start)
    return next((folder for folder in (given, *given.resolve().parents) if (folder / "specs").is_dir()), given)
