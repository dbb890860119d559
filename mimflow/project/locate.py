"""Which project is meant."""

from __future__ import annotations

from pathlib import Path


def find_project(given: Path | str | None = None) -> Path:
    """The folder of a project, which holds `specs`: the one that is given, or the working folder or the nearest above.

    Where none of them holds specs it is the working folder, and whoever opens it says so.
    """
    if given is not None:
        return Path(given)
    here = Path.cwd()
    above = next((folder for folder in (here, *here.parents) if (folder / "specs").is_dir()), here)
    return Path() if above == here else above
